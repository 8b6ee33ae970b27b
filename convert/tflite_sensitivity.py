"""What the rounding of each tensor of an integer model costs: why quality is lost, not only how much."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import nn

from nmbrl.convert.drift import HORIZONS, DriftMeter
from nmbrl.convert.quantities import quantity
from nmbrl.convert.tflite_graph import Graph, Node, read_graph
from nmbrl.convert.tflite_simulate import COPIES, Place, SimulatedExecutor, Simulation, data_inputs
from nmbrl.targets.interface import Interface

# What ranks tensors: early enough that errors still add up, before the dynamics amplify each of them to the same size.
RANKED_BY = "observation_5"


@dataclass(frozen=True)
class Row:
    """What rounding one tensor costs.

    Attributes:
        tensor: the quantity where it is one of the interface's, else the function and the number of the operator.
        kind: ``quantity`` (at the boundary of functions: one tensor wherever it appears), ``activation`` or
            ``weights``.
        computation: the operator that writes it, and what that reads.
        scale: real value of one step; None for weights, which have a scale a channel.
        alone: the drift if only this tensor is rounded, as `Drift.at` gives it.
        without: the drift if every tensor but this one is rounded.
    """

    tensor: str
    kind: str
    computation: str
    scale: float | None
    alone: dict[str, float]
    without: dict[str, float]


@dataclass(frozen=True)
class Sensitivity:
    """The table of one conversion.

    Attributes:
        rounded: the drift with every tensor rounded, as the files do.
        rows: the costliest tensor first.
    """

    rounded: dict[str, float]
    rows: tuple[Row, ...]

    def to_json(self) -> str:
        """Return the table as the bundle holds it, with its units."""
        units = {
            **{f"observation_{ahead}": f"standard deviations, after {ahead} decisions" for ahead in HORIZONS},
            **{f"reward_{ahead}": f"the environment's, of decision {ahead}" for ahead in HORIZONS},
            "action": "of the policy's output",
            "value": "the environment's, discounted",
        }
        content: dict[str, Any] = {
            "measure": "root mean square difference from the float model, open loop along the run's calibration.npz",
            "units": {name: unit for name, unit in units.items() if name in self.rounded},
            **asdict(self),
        }
        return json.dumps(content, indent=1) + "\n"


@dataclass(frozen=True)
class _Tensor:
    """A row before it is measured, and where it is rounded."""

    name: str
    kind: str
    computation: str
    scale: float | None
    places: tuple[Place, ...]


def measure_sensitivity(
    interface: Interface, model: nn.Module, simulation: Simulation, floats: Mapping[str, bytes], meter: DriftMeter
) -> Sensitivity:
    """Measure every tensor, rounded alone and spared alone.

    Args:
        interface: shapes of the functions.
        model: whose parameters name the layers.
        simulation: of the integer models.
        floats: the models that they were quantised from.
        meter: measures the drift.
    """
    executor = SimulatedExecutor(interface, {}, simulation)

    def drift(exact: set[Place]) -> dict[str, float]:
        simulation.exact = exact
        try:
            return meter.measure(executor).at()
        finally:
            simulation.exact = ()

    tensors = _tensors(interface, simulation, _layer_names(model, floats))
    everything = {place for tensor in tensors for place in tensor.places}
    rows = [
        Row(
            tensor=tensor.name,
            kind=tensor.kind,
            computation=tensor.computation,
            scale=tensor.scale,
            alone=drift(everything - {*tensor.places}),
            without=drift({*tensor.places}),
        )
        for tensor in tensors
    ]
    rows.sort(key=_cost, reverse=True)
    return Sensitivity(drift(set()), tuple(rows))


def _cost(row: Row) -> tuple[float, ...]:
    return tuple(row.alone.get(name, 0.0) for name in (RANKED_BY, "action", "value", "reward_1"))


def _tensors(interface: Interface, simulation: Simulation, layers: Mapping[Place, str]) -> list[_Tensor]:
    """Everything that is rounded, quantities first."""
    quantities: dict[str, _Tensor] = {}
    inner = []
    for function, graph in simulation.graphs.items():
        for output, names in ((False, graph.inputs), (True, graph.outputs)):
            for name in names:
                key = quantity(interface, function, name.removesuffix(":out"), output)
                former = quantities[key].places if key in quantities else ()
                places = (*former, (function, name))
                quantities[key] = _Tensor(key, "quantity", "", graph.steps[name].scale, places)
        numbers = {node.output: f"%{number}" for number, node in enumerate(graph.nodes, 1)}
        for node in graph.nodes:
            name, computation = f"{function} {numbers[node.output]}", _computation(function, graph, node, layers)
            if node.operator not in COPIES and node.output not in graph.outputs:
                scale = graph.steps[node.output].scale
                inner.append(_Tensor(name, "activation", computation, scale, ((function, node.output),)))
            if node.operator == "FULLY_CONNECTED":
                inner.append(_Tensor(name, "weights", computation, None, ((function, node.inputs[1]),)))
    return [*quantities.values(), *inner]


def _computation(function: str, graph: Graph, node: Node, layers: Mapping[Place, str]) -> str:
    """An operator as text, e.g. ``MUL(%3, h)`` or ``head.output[0:4](%3)``: numbers are of operators in the file."""
    numbers = {other.output: f"%{number}" for number, other in enumerate(graph.nodes, 1)}
    known = {**{name: name for name in graph.inputs}, **numbers}
    shown = [known.get(name, "constant") for name in data_inputs(node)]
    if node.operator == "FULLY_CONNECTED":
        return f"{layers.get((function, node.inputs[1]), node.operator)}({shown[0]})"
    if node.operator == "SLICE":
        begin, size = (int(graph.constants[name][-1]) for name in node.inputs[1:])
        shown.append(f"{begin}:{begin + size}")
    return f"{node.operator}({', '.join(shown)})"


def _layer_names(model: nn.Module, floats: Mapping[str, bytes]) -> dict[Place, str]:
    """What a model calls the weights of each layer, found by their values: layers were cut and joined on the way."""
    parameters = {
        name.removesuffix(".weight"): parameter.detach().numpy()
        for name, parameter in model.named_parameters()
        if parameter.ndim == 2
    }
    names = {}
    for function, content in floats.items():
        graph = read_graph(content)
        for node in graph.nodes:
            if node.operator == "FULLY_CONNECTED":
                origin = _origin(graph.constants[node.inputs[1]], parameters)
                if origin:
                    names[function, node.inputs[1]] = origin
    return names


def _origin(weights: np.ndarray, parameters: Mapping[str, np.ndarray]) -> str:
    """Name the rows of parameters that stand side by side in a layer's weights; nothing if they are not found."""
    parts: list[str] = []
    column = 0
    while column < weights.shape[1]:
        for name, parameter in parameters.items():
            block = weights[:, column : column + parameter.shape[1]]
            if block.shape[1] != parameter.shape[1]:
                continue
            starts = np.flatnonzero((parameter == block[0]).all(1))
            rows = (slice(int(start), int(start) + len(block)) for start in starts)
            found = next((part for part in rows if np.array_equal(parameter[part], block)), None)
            if found is not None:
                whole = len(block) == len(parameter)
                parts.append(name if whole else f"{name}[{found.start}:{found.stop}]")
                column += block.shape[1]
                break
        else:
            return ""
    return " | ".join(parts)
