"""Lava's leaky neurons, with a host that sets and reads their variables in every step.

The dynamics are Lava's own. Around them, a shared file holds what the host gives and wants set, and another what u and
v were after each step: Lava's own way to them takes longer than the step.
"""

from pathlib import Path
from typing import Any

import nmbrl.targets.loihi.lava.shim  # noqa: F401 - before anything of Lava

# isort: split
import numpy as np
from lava.proc.lif.models import PyLifModelBitAcc, PyLifResetModelBitAcc, PyTernLifModelFixed
from lava.proc.lif.process import LIF, LIFReset, TernaryLIF

from nmbrl.targets.loihi import network
from nmbrl.targets.loihi.lava import models

# Rows of what the host writes, each behind a flag that says whether it is to be taken: a bias, from then on; u, v, and
# what arrives in the next steps, once.
GIVEN, U, V, ARRIVING = range(4)


class _Hosted:
    """Model of a leaky neuron whose process was made with `host`, `record` (files) and `mantissa`."""

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)  # type: ignore[call-arg]
        self.host = np.load(proc_params["host"], mmap_mode="r+")
        self.record = np.load(proc_params["record"], mmap_mode="r+")
        self.mantissa = np.array(proc_params["mantissa"])
        self.due: list[np.ndarray | None] = []
        self.step = 0

    def run_spk(self) -> None:
        """One step of Lava's, between the host's."""
        if self.host[:, 0].any():
            self._take()
        port = self.a_in  # type: ignore[has-type]
        arriving = self.due.pop(0) if self.due else None
        if arriving is not None:
            self.a_in: Any = _Instead(port, arriving)
        super().run_spk()  # type: ignore[misc]
        self.a_in = port
        self.record[self.step % len(self.record)] = self.u, self.v  # type: ignore[attr-defined]
        self.step += 1

    def _take(self) -> None:
        taken = [np.array(row[1:]) if row[0] else None for row in self.host]
        self.host[:, 0] = 0
        if taken[GIVEN] is not None:
            self.bias_mant = self.mantissa + taken[GIVEN]
        for variable, values in (("u", taken[U]), ("v", taken[V])):
            if values is not None:
                setattr(self, variable, values)
        self.due = taken[ARRIVING:]


class _Instead:
    """A port that takes what arrives and gives something else."""

    def __init__(self, port: Any, values: np.ndarray) -> None:
        self.port, self.values = port, values

    def recv(self) -> np.ndarray:
        self.port.recv()
        return self.values


class HostedLIF(LIF):
    """Lava's process under another name, so that it can have another model."""


class HostedLIFReset(LIFReset):
    """As `HostedLIF`."""


class HostedTernaryLIF(TernaryLIF):
    """As `HostedLIF`."""


# Lava's decorators refuse models that are derived from models; what they would set besides is inherited.
class PyHostedLIF(_Hosted, PyLifModelBitAcc):
    """Lava's model."""

    implements_process = HostedLIF


class PyHostedLIFReset(_Hosted, PyLifResetModelBitAcc):
    """Lava's model."""

    implements_process = HostedLIFReset


class PyHostedTernaryLIF(_Hosted, PyTernLifModelFixed):
    """Lava's model."""

    implements_process = HostedTernaryLIF


MODELS = {HostedLIF: PyHostedLIF, HostedLIFReset: PyHostedLIFReset, HostedTernaryLIF: PyHostedTernaryLIF}


def make_leaky(population: network.LIF, host: Path, record: Path) -> LIF | LIFReset | TernaryLIF:
    """Make the process of a population.

    Args:
        population: the neurons.
        host: file (rows, 1 + size) of int32; see the rows above.
        record: file (steps, 2, size) of int32 that takes u and v after the n-th step, starting over where it ends.
    """
    options: dict[str, Any] = {
        "shape": (population.size,),
        "bias_mant": population.bias_mant,
        "bias_exp": population.bias_exp,
    }
    process: LIF | LIFReset | TernaryLIF
    if isinstance(population, network.TernaryLIF):
        process = HostedTernaryLIF(**options, vth_hi=0, vth_lo=0)
        thresholds = {"vth_hi": population.vth, "vth_lo": population.vth_lo}
    else:
        thresholds = {"vth": population.vth}
        if isinstance(population, network.LIFReset):
            interval = {"reset_interval": population.reset_interval, "reset_offset": population.reset_offset}
            process = HostedLIFReset(**options, **interval)
        else:
            process = HostedLIF(**options)
    for name, value in {"host": str(host), "record": str(record), "mantissa": population.bias_mant}.items():
        process.proc_params[name] = value
    # Lava's process takes one number for all neurons, its model one for each as well.
    for name, values in {"du": population.du, "dv": population.dv, **thresholds}.items():
        models.set_vector(getattr(process, name), values)
    return process
