"""From a trained student to Loihi networks: a hidden population or two a function, and readouts that never spike."""

import numpy as np
from torch import Tensor

from nmbrl.convert.loihi.lif.population import (
    BIAS_EXP,
    GIVEN_LIMIT,
    HOST_EXP,
    HOST_LIMIT,
    INPUT_SHIFT,
    NEURON,
    Rounded,
)
from nmbrl.convert.loihi.lif.student import Student
from nmbrl.targets import bundle
from nmbrl.targets.loihi.host import Encoder, Host
from nmbrl.targets.loihi.limits import THRESHOLD_BITS, Integers
from nmbrl.targets.loihi.network import LIF, Network, Population, Synapses

# Populations of each function, with the readouts that it needs.
FUNCTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "observe": {"world": ("m",), "policy": ()},
    "imagine": {"world": ("x", "m", "r", "c")},
    "act": {"policy": ("a",)},
    "value": {"critic": ("v",)},
}
INPUTS = {"world": ("x", "a"), "policy": ("x", "m"), "critic": ("x", "m")}
CARRIED = ("world", "policy")


def lower(student: Student) -> tuple[dict[str, bundle.Function], dict[str, Network], Host]:
    """Return what a bundle records of each function, the networks, and what the host does."""
    rounded, bits = student.rounded(), student.sizes.weight_bits
    parts = {"world": rounded.world, "policy": rounded.policy, "critic": rounded.critic}
    rows = {
        "world": _rows("xmrc", student.predictions),
        "policy": _rows("a", [student.interface.task.action_size]),
        "critic": _rows("v", [1]),
    }
    networks = {}
    for function, hidden in FUNCTIONS.items():
        populations: list[Population] = []
        synapses: list[Synapses] = []
        outputs: dict[str, str] = {}
        for name, wanted in hidden.items():
            part = parts[name]
            populations.append(_hidden(name, part))
            synapses.append(_synapses(name, name, part.recurrent, bits))
            for tensor in [tensor for tensor in wanted if tensor in rows[name]]:
                chosen = rows[name][tensor]
                populations.append(_readout(tensor, part.offset[chosen]))
                synapses.append(_synapses(name, tensor, part.readout[chosen], bits))
                outputs[tensor] = f"{tensor}/v"
        inputs = {name: name for name in hidden}
        networks[function] = Network(tuple(populations), tuple(synapses), inputs, outputs, student.sizes.steps)
    host = Host(
        encoders={name: _encoder(INPUTS[name], part) for name, part in parts.items()},
        readouts={
            tensor: whole(parts[name].exponents[chosen]) for name in rows for tensor, chosen in rows[name].items()
        },
        changes={"x": HOST_LIMIT},
        carried=CARRIED,
    )
    return {function: _function(student, function) for function in FUNCTIONS}, networks, host


def _rows(names: str, sizes: list[int]) -> dict[str, slice]:
    """Return the readouts that each output has, those of size 0 left out."""
    ends = np.cumsum(sizes).tolist()
    return {name: slice(end - size, end) for name, size, end in zip(names, sizes, ends, strict=True) if size}


def whole(tensor: Tensor) -> Integers:
    """Return a tensor of whole numbers as int32."""
    return tensor.detach().numpy().astype(np.int32)


def _hidden(name: str, part: Rounded) -> LIF:
    size = len(part.constant)

    def all_(number: int) -> Integers:
        return np.full(size, number, np.int32)

    return LIF(
        name=name,
        size=size,
        du=all_(NEURON.du),
        dv=all_(NEURON.dv),
        bias_mant=whole(part.constant),
        bias_exp=all_(BIAS_EXP),
        vth=all_(NEURON.vth),
    )


def _readout(name: str, offset: Tensor) -> LIF:
    """A current without memory, a potential without leak, and a threshold out of reach."""
    size = len(offset)

    def all_(number: int) -> Integers:
        return np.full(size, number, np.int32)

    return LIF(
        name=name,
        size=size,
        du=all_(4095),
        dv=all_(0),
        bias_mant=whole(offset),
        bias_exp=all_(BIAS_EXP),
        vth=all_((1 << THRESHOLD_BITS) - 1),
    )


def _synapses(source: str, target: str, weights: Tensor, weight_bits: int) -> Synapses:
    return Synapses(source=source, target=target, weights=whole(weights), weight_bits=weight_bits, binary=True)


def _encoder(tensors: tuple[str, ...], part: Rounded) -> Encoder:
    return Encoder(
        tensors=tensors,
        weights=whole(part.encoder),
        exponent=HOST_EXP,
        largest=int(HOST_LIMIT) << HOST_EXP,
        shift=INPUT_SHIFT,
        limit=GIVEN_LIMIT,
    )


def _function(student: Student, function: str) -> bundle.Function:
    """Record inputs and outputs; scales are the host's, as they differ from number to number."""
    interface = student.interface

    def tensors(sizes: dict[str, int]) -> tuple[bundle.Tensor, ...]:
        return tuple(bundle.Tensor(name=name, size=size, dtype="int32") for name, size in sizes.items())

    return bundle.Function(
        file=f"{function}.json",
        inputs=tensors(interface.input_sizes(function)),
        outputs=tensors(interface.output_sizes(function)),
    )
