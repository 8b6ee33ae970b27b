"""What an integer .tflite model computes, in differentiable reals: each tensor is rounded and saturated as there.

Any tensor can be left exact, which shows what its rounding costs. Gradients pass straight through the rounding of what
does not saturate (Jacob et al. 2018, section 3), so that weights can be trained for the very steps of the file. What is
left out are roundings inside an operator that are far smaller than a step (multipliers of 32 bits, tables).
"""

import math
from collections.abc import Callable, Collection, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from nmbrl.convert.tflite_graph import Node, Steps, read_graph
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Array, Executor, Interface

# Weights are symmetric: -128 is not used.
WEIGHT_LIMIT = 127
FUSED: dict[str, Callable[[Tensor], Tensor]] = {
    "NONE": lambda values: values,
    "RELU": torch.relu,
    "RELU6": partial(torch.clamp, min=0, max=6),
}
ELEMENTWISE: dict[str, Callable[..., Tensor]] = {
    "ADD": torch.add,
    "SUB": torch.sub,
    "MUL": torch.mul,
    "LOGISTIC": torch.sigmoid,
    "TANH": torch.tanh,
    "RELU": torch.relu,
    "QUANTIZE": lambda values: values,
    "RESHAPE": lambda values, *shape: values,
    "CONCATENATION": lambda *parts: torch.cat(parts, -1),
}
# Operators whose outputs are integers of their inputs: nothing is rounded again.
COPIES = ("CONCATENATION", "RESHAPE", "SLICE")
# Operators whose result is an integer multiple of the product of their inputs' scales.
RESCALED = ("QUANTIZE", "MUL")
# (function, tensor): what is rounded.
Place = tuple[str, str]


class Simulation(nn.Module):
    """The functions of an integer bundle with the float weights that they were made from.

    Weights that are equal in several functions (a recurrence that observing and imagining share) are one parameter.

    Args:
        floats: float .tflite models by function.
        integers: the models that were quantised from them.

    Attributes:
        graphs: the integer models.
        exact: what is left exact: activations, and weights by their name.

    Raises:
        NmbrlError: if a model has an operator that is not simulated.
    """

    def __init__(self, floats: Mapping[str, bytes], integers: Mapping[str, bytes]) -> None:
        super().__init__()
        self.graphs = {function: read_graph(content) for function, content in integers.items()}
        self.exact: Collection[Place] = ()
        self.weights = nn.ParameterList()
        self._index: dict[Place, int] = {}
        self._fixed: dict[Place, Tensor] = {}
        known: dict[tuple[bytes, ...], int] = {}
        for function, content in floats.items():
            graph, constants = self.graphs[function], read_graph(content).constants
            for node in graph.nodes:
                if node.operator not in {*ELEMENTWISE, "FULLY_CONNECTED", "SLICE"}:
                    raise NmbrlError(f"{function} has the operator {node.operator}, which is not simulated")
                names = [name for name in node.inputs if name in constants]
                if node.operator != "FULLY_CONNECTED":
                    self._fixed |= {(function, name): torch.from_numpy(constants[name].copy()) for name in names}
                    continue
                # A bias alone says too little: that of many layers is zero.
                layer = tuple(constants[name].tobytes() for name in names)
                if layer not in known:
                    known[layer] = len(self.weights)
                    self.weights.extend(nn.Parameter(torch.from_numpy(constants[name].copy())) for name in names)
                self._index |= {(function, name): known[layer] + offset for offset, name in enumerate(names)}

    def parameter(self, function: str, name: str) -> nn.Parameter | None:
        """Return the weights or biases that a function holds under a name; None for what is no parameter."""
        index = self._index.get((function, name))
        return None if index is None else self.weights[index]

    def forward(self, function: str, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Evaluate one function on tensors (batch, size) by name; give its outputs by name, all of them reals."""
        graph = self.graphs[function]
        values = {
            name: inputs[name] if (function, name) in self.exact else round_to(graph.steps[name], inputs[name])
            for name in graph.inputs
        }
        for node in graph.nodes:
            values[node.output] = self._round(function, node, FUSED[node.fused](self._compute(function, node, values)))
        return {name.removesuffix(":out"): values[name] for name in graph.outputs}

    def _compute(self, function: str, node: Node, values: dict[str, Tensor]) -> Tensor:
        graph = self.graphs[function]
        arguments = [values[name] if name in values else self._fixed[function, name] for name in data_inputs(node)]
        if node.operator == "FULLY_CONNECTED":
            weight, *bias = (self.parameter(function, name) for name in node.inputs[1:])
            assert weight is not None
            return nn.functional.linear(arguments[0], self._round_weight(function, node, weight), *bias)
        if node.operator == "SLICE":
            begin, size = (int(graph.constants[name][-1]) for name in node.inputs[1:])
            return arguments[0].narrow(-1, begin, size if size >= 0 else graph.sizes[node.output])
        return ELEMENTWISE[node.operator](*arguments)

    def _round(self, function: str, node: Node, values: Tensor) -> Tensor:
        steps = self.graphs[function].steps
        if node.operator in COPIES or (function, node.output) in self.exact:
            return values
        if node.operator in RESCALED:
            return rescale(math.prod(steps[name].scale for name in node.inputs), steps[node.output], values)
        return round_to(steps[node.output], values)

    def _round_weight(self, function: str, node: Node, weight: Tensor) -> Tensor:
        if (function, node.inputs[1]) in self.exact:
            return weight
        # As the quantizer chooses it: the largest weight of a channel is the largest integer.
        scale = weight.detach().abs().amax(1) / WEIGHT_LIMIT
        zero = torch.zeros(len(weight), dtype=torch.int32)
        limits = -WEIGHT_LIMIT, WEIGHT_LIMIT
        return torch.fake_quantize_per_channel_affine(weight, scale.clamp_min(1e-12), zero, 0, *limits)


def data_inputs(node: Node) -> tuple[str, ...]:
    """Return the names of the inputs that an operator computes with: weights, biases and shapes are left out."""
    return node.inputs[:1] if node.operator in ("FULLY_CONNECTED", "RESHAPE", "SLICE") else node.inputs


def round_to(steps: Steps, values: Tensor) -> Tensor:
    """Return the reals that the integers nearest to `values` stand for."""
    return torch.fake_quantize_per_tensor_affine(values, steps.scale, steps.zero, steps.low, steps.high)


def rescale(scale: float, target: Steps, values: Tensor) -> Tensor:
    """Do as `round_to` does, the way in which integers that stand for multiples of `scale` become those of `target`.

    What is rounded is the product with the mantissa of the ratio of the scales, then the shift by its exponent
    (MultiplyByQuantizedMultiplier in tensorflow/lite/kernels/internal/common.cc). The first matters where little is
    shifted: from int8 to a coarser int8 one value in four is a step off.
    """
    mantissa, exponent = math.frexp(scale / target.scale)
    # In double, and the mantissa in its 31 bits, so that ties are those of the integers: up, then away from zero.
    multiplier = round(mantissa * 2**31) / 2**31 * 2.0 ** max(exponent, 0)
    products = torch.floor(values.detach().double() / scale * multiplier + 0.5)
    integers = _round_half_away(products * 2.0 ** min(exponent, 0)) + target.zero
    rounded = ((integers.clamp(target.low, target.high) - target.zero) * target.scale).float()
    straight = values.clamp((target.low - target.zero) * target.scale, (target.high - target.zero) * target.scale)
    return straight + (rounded - straight).detach()


def _round_half_away(values: Tensor) -> Tensor:
    return torch.trunc(values + torch.copysign(torch.full_like(values, 0.5), values))


class SimulatedExecutor(Executor):
    """Runs a `Simulation` behind the interface, so that whatever measures an executor measures it.

    Args:
        interface: shapes and constants of the model.
        macs: multiply-accumulates of each function.
        simulation: what to run.
    """

    def __init__(self, interface: Interface, macs: dict[str, int], simulation: Simulation) -> None:
        super().__init__("simulation", interface, macs)
        self.simulation = simulation

    def call(self, function: str, inputs: dict[str, Array]) -> dict[str, Array]:
        """Evaluate one core function; see `Executor.call`."""
        tensors = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in inputs.items()}
        with torch.inference_mode():
            return {name: values.numpy() for name, values in self.simulation(function, tensors).items()}
