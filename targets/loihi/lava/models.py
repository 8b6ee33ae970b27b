"""The parts of a network that Lava has no model for: the rule without drift, the table, and the ports to the host.

Written from the equations of `nmbrl.targets.loihi.network`, independently of the simulator that they check.
"""

from pathlib import Path
from typing import Any

import nmbrl.targets.loihi.lava.shim  # noqa: F401 - before anything of Lava

# isort: split
import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.sdn.models import AbstractSigmaDeltaModel
from lava.proc.sdn.process import SigmaDelta


class DriftFreeSigmaDelta(SigmaDelta):
    """Lava's SigmaDelta process under another name, so that it can have another model."""


@implements(proc=DriftFreeSigmaDelta, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyDriftFreeSigmaDelta(AbstractSigmaDeltaModel):
    """What was sent, and nothing else, counts as sent: bits that the shift drops stay due."""

    a_in = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    vth: np.ndarray = LavaPyType(np.ndarray, np.int32, precision=24)
    sigma: np.ndarray = LavaPyType(np.ndarray, np.int32, precision=24)
    act: np.ndarray = LavaPyType(np.ndarray, np.int32, precision=24)
    residue: np.ndarray = LavaPyType(np.ndarray, np.int32, precision=24)
    error: np.ndarray = LavaPyType(np.ndarray, np.int32, precision=24)
    bias: np.ndarray = LavaPyType(np.ndarray, np.int32, precision=24)
    spike_exp: np.ndarray = LavaPyType(np.ndarray, np.int32, precision=3)
    state_exp: np.ndarray = LavaPyType(np.ndarray, np.int32, precision=3)
    cum_error: np.ndarray = LavaPyType(np.ndarray, bool, precision=1)

    def run_spk(self) -> None:
        """One step."""
        self.sigma = self.sigma_dynamics(self.a_in.recv())
        due = self.activation_dynamics(self.sigma) - self.act
        message = np.right_shift(due * (np.abs(due) >= self.vth), self.state_exp)
        self.act = self.act + np.left_shift(message, self.state_exp)
        self.s_out.send(message)


class Lookup(AbstractProcess):
    """Function by table of one accumulated input.

    Args:
        shape: (size,).
        bias: (size,).
        values: entries of the table.
        exponent: segments are 2^exponent units long.
        vth: smallest change that each neuron sends, (size,).
    """

    def __init__(self, *, shape: tuple, bias: np.ndarray, values: np.ndarray, exponent: int, vth: np.ndarray) -> None:
        super().__init__(shape=shape, bias=bias, values=values, exponent=exponent, vth=vth)
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)


@implements(proc=Lookup, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyLookup(PyLoihiProcessModel):
    """Neuron by neuron, in Python's own integers."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.potential = [int(bias) for bias in proc_params["bias"]]
        self.sent = [0] * len(self.potential)
        self.values = [int(value) for value in proc_params["values"]]
        self.exponent, self.vth = int(proc_params["exponent"]), [int(vth) for vth in proc_params["vth"]]

    def run_spk(self) -> None:
        """One step."""
        arrived = self.a_in.recv()
        message = np.zeros(len(self.sent), np.int32)
        for neuron, current in enumerate(arrived):
            self.potential[neuron] += int(current)
            change = self.look_up(self.potential[neuron]) - self.sent[neuron]
            if abs(change) >= self.vth[neuron]:
                message[neuron] = change
                self.sent[neuron] += change
        self.s_out.send(message)

    def look_up(self, potential: int) -> int:
        """Interpolate, rounding to the nearest."""
        segment = 2**self.exponent
        width = (len(self.values) - 1) * segment
        index, rest = divmod(min(max(potential + width // 2, 0), width - 1), segment)
        rise = self.values[index + 1] - self.values[index]
        return self.values[index] + (rise * rest + segment // 2) // segment


class RightShift(AbstractProcess):
    """Passes on ``a_in >> exponent`` in the same step.

    Args:
        shape: (size,).
        exponent: bits to drop.
    """

    def __init__(self, *, shape: tuple, exponent: int) -> None:
        super().__init__(shape=shape, exponent=exponent)
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)


@implements(proc=RightShift, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyRightShift(PyLoihiProcessModel):
    """Floor of the division by a power of two."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)

    def run_spk(self) -> None:
        """One step."""
        self.s_out.send(np.floor_divide(self.a_in.recv(), np.int32(2 ** int(self.proc_params["exponent"]))))


def set_vector(variable: Var, values: np.ndarray) -> None:
    """Give every neuron a number of its own in a variable that Lava's process has one number of."""
    variable.shape, variable.init = values.shape, values


def make_host(values: dict[str, Path], messages: dict[str, Path]) -> tuple[AbstractProcess, type]:
    """Make the process that stands for the host, and its model: it feeds the inputs and records every population.

    One process, because Lava pays for each in every step; and because it ties all parts of a network together.

    Args:
        values: for each input, the .npy file of int32 whose present content is sent in every step. Its port is
            ``out_<name>``.
        messages: for each population, the .npy file (rows, size) of int32 to whose n-th row goes what arrives in the
            n-th step, starting over where the file ends. Its port is ``in_<name>``.
    """

    class Host(AbstractProcess):
        def __init__(self) -> None:
            super().__init__()
            for name, path in values.items():
                setattr(self, f"out_{name}", OutPort(shape=np.load(path, mmap_mode="r").shape))
            for name, path in messages.items():
                setattr(self, f"in_{name}", InPort(shape=np.load(path, mmap_mode="r").shape[1:]))

    @implements(proc=Host, protocol=LoihiProtocol)
    @requires(CPU)
    @tag("fixed_pt")
    class PyHost(PyLoihiProcessModel):
        def __init__(self, proc_params: dict[str, Any]) -> None:
            super().__init__(proc_params)
            self.held = {name: np.load(path, mmap_mode="r") for name, path in values.items()}
            self.rows = {name: np.load(path, mmap_mode="r+") for name, path in messages.items()}
            self.step = 0

        def run_spk(self) -> None:
            for name, held in self.held.items():
                getattr(self, f"out_{name}").send(np.array(held))
            for name, rows in self.rows.items():
                rows[self.step % len(rows)] = getattr(self, f"in_{name}").recv()
            self.step += 1

    for name in values:
        setattr(PyHost, f"out_{name}", LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24))
    for name in messages:
        setattr(PyHost, f"in_{name}", LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24))
    # Lava looks for models among what the process's module holds.
    globals()["PyHost"] = PyHost
    return Host(), PyHost
