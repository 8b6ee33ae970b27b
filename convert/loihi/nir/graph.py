"""A NIR graph in discrete time: leaky integrate-and-fire neurons, and matrices between them.

NIR states differential equations (Pedersen et al. 2024, Nature Communications 15; ``nir/ir/neuron.py``). Forward Euler
with steps of dt, the synaptic current before the potential, makes of a ``CubaLIF``::

    I <- (1 - dt / tau_syn) I + (dt / tau_syn) w_in S
    v <- (1 - dt / tau_mem) v + (dt / tau_mem) (v_leak + r I);  spike where v > v_threshold;  v <- v_reset there

and of a ``LIF`` the same with ``I = S``. So do snnTorch (dt = 1e-4) and Norse (dt as asked). An edge takes no time, but
spikes that come back to their own population arrive one step later.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nir
import numpy as np
from numpy.typing import NDArray

from nmbrl.targets.errors import NmbrlError

Floats = NDArray[np.float64]
# What snnTorch reads and writes graphs with.
DT = 1e-4
KNOWN = "Input, Output, Affine, Linear, LIF and CubaLIF"


@dataclass(frozen=True, eq=False)
class Neurons:
    """A population in discrete time; all vectors are float64 (size,). v counts from its reset, u is in steps of v.

    Attributes:
        keep_u: share of u that a step keeps, 0 to 1.
        keep_v: share of v that a step keeps, 0 to 1.
        gain: what a unit that arrives adds to u.
        bias: what a step adds to v.
        threshold: above which v spikes, not negative.
    """

    keep_u: Floats
    keep_v: Floats
    gain: Floats
    bias: Floats
    threshold: Floats

    @property
    def size(self) -> int:
        """Number of neurons."""
        return len(self.threshold)


@dataclass(eq=False)
class Arriving:
    """What is added up at the entrance of a population or an output.

    Attributes:
        weights: (target size, source size) by name of an input or a population.
        constant: what arrives in every step (target size,).
    """

    weights: dict[str, Floats] = field(default_factory=dict)
    constant: Floats | float = 0.0

    def add(self, other: "Arriving") -> None:
        """Add what another edge brings."""
        self.constant = self.constant + other.constant
        for source, matrix in other.weights.items():
            self.weights[source] = self.weights[source] + matrix if source in self.weights else matrix

    def through(self, weight: Floats, bias: Floats | float) -> "Arriving":
        """Return what is left of it behind an affine map."""
        constant = weight @ np.broadcast_to(self.constant, weight.shape[1]) + bias
        return Arriving({source: weight @ matrix for source, matrix in self.weights.items()}, constant)


@dataclass(frozen=True, eq=False)
class Graph:
    """A NIR graph in discrete time.

    Attributes:
        inputs: sizes.
        neurons: populations.
        arriving: at each population and each output, by name.
        outputs: names.
    """

    inputs: dict[str, int]
    neurons: dict[str, Neurons]
    arriving: dict[str, Arriving]
    outputs: tuple[str, ...]

    def size(self, source: str) -> int:
        """Return the size of an input or a population."""
        return self.inputs[source] if source in self.inputs else self.neurons[source].size

    def spiking(self, output: str) -> str | None:
        """Return the population whose spikes, just as they are, are an output; None if it is anything else."""
        arriving = self.arriving[output]
        if len(arriving.weights) == 1 and not np.any(arriving.constant):
            ((source, matrix),) = arriving.weights.items()
            if source in self.neurons and np.array_equal(matrix, np.eye(len(matrix))):
                return source
        return None


def read_graph(path: Path) -> nir.NIRGraph:
    """Read a ``.nir`` file.

    Raises:
        NmbrlError: if it is missing or no NIR graph.
    """
    if not path.is_file():
        raise NmbrlError(f"{path} does not exist; give a .nir file")
    try:
        # Shapes are checked in `discretise`, where errors name nodes.
        graph = nir.read(path, type_check=False)
    # h5py and nir raise many kinds of errors about files that are damaged or hold something else.
    except Exception as error:
        text = " ".join(str(error).split())
        raise NmbrlError(f"{path} holds no NIR graph ({type(error).__name__}: {text})") from error
    if not isinstance(graph, nir.NIRGraph):
        raise NmbrlError(f"{path} holds a {type(graph).__name__}, not a NIR graph")
    return graph


def discretise(graph: nir.NIRGraph, dt: float = DT) -> Graph:
    """Discretise a graph.

    Args:
        graph: of the nodes in `KNOWN` and graphs of such; edges lead anywhere, but no loop has only linear nodes.
        dt: seconds a step.

    Raises:
        NmbrlError: naming the node that is of another kind, whose shape does not fit, or whose time constant is
            shorter than dt.
    """
    if not dt > 0:
        raise NmbrlError(f"dt is {dt}; it must be positive")
    nodes, edges = _flatten(graph)
    top = {name for name, node in graph.nodes.items() if isinstance(node, nir.Input)}
    inputs = {name: _vector(name, node.input_type["input"]) for name, node in nodes.items() if name in top}
    neurons = {
        name: _neurons(name, node, dt) for name, node in nodes.items() if isinstance(node, nir.LIF | nir.CubaLIF)
    }
    outputs = tuple(name for name, node in graph.nodes.items() if isinstance(node, nir.Output))
    if not inputs or not outputs or not neurons:
        raise NmbrlError("NIR graph: it needs an Input, an Output, and a population of LIF or CubaLIF between them")
    before: dict[str, list[str]] = {name: [] for name in nodes}
    for source, target in edges:
        before[target].append(source)
    sizes = {**inputs, **{name: population.size for name, population in neurons.items()}}
    walk = _Walk(nodes, before, sizes)
    arriving = {name: walk.arriving(name) for name in (*neurons, *outputs)}
    found = Graph(inputs, neurons, arriving, outputs)
    for target, here in arriving.items():
        size = neurons[target].size if target in neurons else _vector(target, nodes[target].output_type["output"])
        for source, matrix in here.weights.items():
            if len(matrix) != size:
                raise NmbrlError(f"NIR graph: {target} has size {size}, what comes from {source} has {len(matrix)}")
        if np.ndim(here.constant) and np.shape(here.constant) != (size,):
            raise NmbrlError(f"NIR graph: {target} has size {size}, a bias on its way {np.shape(here.constant)}")
        here.constant = np.broadcast_to(np.asarray(here.constant, np.float64), size).copy()
    return found


class _Walk:
    """Goes back along edges until it meets populations and inputs."""

    def __init__(self, nodes: Mapping[str, nir.NIRNode], before: Mapping[str, list[str]], sizes: dict[str, int]):
        self.nodes, self.before, self.sizes = nodes, before, sizes

    def arriving(self, name: str, behind: tuple[str, ...] = ()) -> Arriving:
        """Add up what all edges bring to a node."""
        total = Arriving()
        for source in self.before[name]:
            try:
                total.add(self._leaving(source, behind))
            except ValueError as error:
                raise NmbrlError(f"NIR graph: shapes do not fit at {source} to {name} ({error})") from error
        return total

    def _leaving(self, name: str, behind: tuple[str, ...]) -> Arriving:
        if name in self.sizes:
            return Arriving({name: np.eye(self.sizes[name])})
        if name in behind:
            raise NmbrlError(f"NIR graph: a loop through {name} has no neurons")
        entering, node = self.arriving(name, (*behind, name)), self.nodes[name]
        if isinstance(node, nir.Input | nir.Output):
            return entering
        weight = np.asarray(node.weight, np.float64)
        if weight.ndim != 2:
            raise NmbrlError(f"NIR graph: the weights of {name} are {weight.shape}, no matrix")
        bias = np.asarray(node.bias, np.float64) if isinstance(node, nir.Affine) else 0.0
        return entering.through(weight, bias)


def _flatten(graph: nir.NIRGraph, prefix: str = "") -> tuple[dict[str, nir.NIRNode], list[tuple[str, str]]]:
    """Return nodes and edges of a graph with those of the graphs in it; edges to a graph lead to its input."""
    nodes: dict[str, nir.NIRNode] = {}
    edges: list[tuple[str, str]] = []
    entrances: dict[str, list[str]] = {}
    exits: dict[str, list[str]] = {}
    for key, node in graph.nodes.items():
        name = f"{prefix}{key}"
        entrances[key] = exits[key] = [name]
        if isinstance(node, nir.NIRGraph):
            inner, between = _flatten(node, f"{name}.")
            nodes |= inner
            edges += between
            entrances[key] = [f"{name}.{k}" for k, part in node.nodes.items() if isinstance(part, nir.Input)]
            exits[key] = [f"{name}.{k}" for k, part in node.nodes.items() if isinstance(part, nir.Output)]
        elif isinstance(node, nir.Input | nir.Output | nir.Affine | nir.Linear | nir.LIF | nir.CubaLIF):
            nodes[name] = node
        else:
            raise NmbrlError(f"NIR graph: node {name} is a {type(node).__name__}; {KNOWN} can be imported")
    for source, target in dict.fromkeys(graph.edges):
        if source not in exits or target not in entrances:
            raise NmbrlError(f"NIR graph: an edge from {source} to {target}, which are not both nodes")
        edges += [(leave, enter) for leave in exits[source] for enter in entrances[target]]
    return nodes, edges


def _vector(name: str, shape: np.ndarray | None) -> int:
    """Return the size of a vector that an input or output is."""
    sizes = [] if shape is None else np.atleast_1d(shape).tolist()
    if len(sizes) != 1:
        raise NmbrlError(f"NIR graph: {name} has shape {tuple(sizes)}; vectors can be imported")
    return int(sizes[0])


def _neurons(name: str, node: nir.NIRNode, dt: float) -> Neurons:
    size = np.asarray(node.v_threshold).size

    def vector(value: np.ndarray) -> Floats:
        array = np.asarray(value, np.float64)
        if array.ndim > 1 or array.size not in (1, size) or not np.isfinite(array).all():
            raise NmbrlError(f"NIR graph: parameters of {name} are no finite vectors of one size")
        return np.broadcast_to(array, size).copy()

    def rate(tau: np.ndarray, what: str) -> Floats:
        shortest = vector(tau).min()
        # Time constants of exactly dt come from files as float32.
        if shortest < dt * (1 - 1e-6):
            raise NmbrlError(f"NIR graph: {what} of {name} is {shortest:g} s, shorter than a step of {dt:g} s")
        return np.minimum(dt / vector(tau), 1.0)

    reset = vector(node.v_reset) if node.v_reset is not None else np.zeros(size)
    threshold = vector(node.v_threshold) - reset
    if threshold.min() < 0:
        raise NmbrlError(f"NIR graph: {name} has a threshold below its reset")
    if isinstance(node, nir.CubaLIF):
        into_u, into_v = rate(node.tau_syn, "tau_syn"), rate(node.tau_mem, "tau_mem")
        gain = into_u * vector(node.w_in)
    else:
        into_u, into_v = np.ones(size), rate(node.tau, "tau")
        gain = np.ones(size)
    return Neurons(
        keep_u=1 - into_u,
        keep_v=1 - into_v,
        gain=gain * into_v * vector(node.r),
        bias=into_v * (vector(node.v_leak) - reset),
        threshold=threshold,
    )
