"""From a Loihi network of LIF neurons to a NIR graph that simulators run with the same spikes, apart from truncation.

The chip's step is forward Euler of NIR's ``CubaLIF`` (see `nmbrl.convert.loihi.nir.graph`) with::

    tau_syn = dt * 4096 / (du + 1)    tau_mem = dt * 4096 / dv    w_in = tau_syn / dt    r = tau_mem / dt

a weight of ``weights << weight_exp``, a threshold of ``vth``, and ``v_leak = r * bias / 64``: v counts in 64 of the
chip's steps. snnTorch takes w_in and r in this form only. Where du is 4095 a current has no memory and tau_syn is dt (a
``LIF`` would say the same, but Norse 1.1.0 leaves out its r).
"""

from collections.abc import Mapping, Sequence

import nir
import numpy as np

from nmbrl.convert.loihi.nir.graph import DT, Floats
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.host import Host
from nmbrl.targets.loihi.limits import THRESHOLD_BITS
from nmbrl.targets.loihi.network import LIF, Network, Synapses
from nmbrl.targets.loihi.spiking import ALIGNMENT

INPUT, OUTPUT = "input", "output"
# Steps of the chip's potentials that are 1 in the graph.
UNIT = float(1 << ALIGNMENT)
MEMORYLESS = 4095


def export_network(network: Network) -> nir.NIRGraph:
    """Export a network: its inputs are currents a neuron in steps of thresholds, biases become ``v_leak``.

    An output that names a population is its spikes. A readout (see `is_readout`) becomes an ``Affine`` before the
    output: what the graph gives in a step is what the potential grows by, in steps of thresholds.

    Raises:
        NmbrlError: naming what NIR, or the simulators of it, cannot express.
    """
    export = _Export(network)
    export.add_neurons(biases=True)
    for name, place in network.inputs.items():
        population = place.partition("/")[0]
        export.nodes[name] = nir.Input({"input": np.array([network.by_name[population].size])})
        export.edges.append((name, f"{population}.lif"))
    for name, place in network.outputs.items():
        export.add_output(name, [place], {})
    return export.graph()


def export_function(network: Network, host: Host, sizes: Mapping[str, int]) -> nir.NIRGraph:
    """Export a function of a spiking student, from the host's numbers to the host's numbers.

    The input is the tensors that `input_tensors` names, one after the other, and at the end a 1 whose weights are the
    biases; `drive` says how to feed it. The output is all readouts, one after the other: the sum over a decision's
    steps of what the graph gives is the function's output, of a readout in ``host.changes`` what is added to the input.
    Populations that no output depends on are left out.

    Args:
        network: of the function.
        host: what the host does at its edge.
        sizes: of the function's inputs, by name.

    Raises:
        NmbrlError: naming what NIR, or the simulators of it, cannot express.
    """
    export = _Export(_without_idle(network))
    export.add_neurons(biases=False)
    export.add_encoders(host, sizes)
    scales = {name: 2.0 ** -exponents.astype(np.float64) for name, exponents in host.readouts.items()}
    export.add_output(OUTPUT, list(network.outputs.values()), scales)
    return export.graph()


def is_readout(network: Network, name: str) -> bool:
    """Return whether a population's potential only sums up what arrives: without leak or memory, and never spiking."""
    population = network.by_name[name]
    return (
        isinstance(population, LIF)
        and bool((population.du == MEMORYLESS).all() and not population.dv.any())
        and bool((population.vth == (1 << THRESHOLD_BITS) - 1).all())
        and all(part.source != name for part in network.synapses)
    )


def input_tensors(network: Network, host: Host) -> list[str]:
    """Return the tensors that the input of `export_function` consists of, in their order, without the 1 at the end."""
    populations = _without_idle(network).inputs.values()
    return list(dict.fromkeys(tensor for name in populations for tensor in host.encoders[name].tensors))


def drive(held: Floats, keep_u: float, before: Floats | None = None) -> Floats:
    """Return what to feed an exported graph so that each neuron gets the currents of `held` as a bias.

    Currents go through NIR's synaptic filter, which the chip's biases do not; ``held[t] - keep_u * held[t - 1]`` undoes
    it. A decision's numbers, and the 1, are held during its steps.

    Args:
        held: numbers (steps, ..., size), with a 1 as the last of each.
        keep_u: share of a current that a step keeps, ``(4095 - du) / 4096``.
        before: numbers (..., size) that were held before; None for 0.
    """
    first = np.zeros_like(held[0]) if before is None else before
    return held - keep_u * np.concatenate([first[None], held[:-1]])


def levels(network: Network) -> dict[str, int]:
    """Return how many steps after the inputs each population gets what they set off.

    Raises:
        NmbrlError: if that has no one answer, as a synapse takes a step on the chip and an edge of NIR none.
    """
    found: dict[str, int] = {place.partition("/")[0]: 0 for place in network.inputs.values()}
    forward = [part for part in network.synapses if part.source != part.target]
    for _ in network.populations:
        for part in forward:
            if part.source in found:
                found.setdefault(part.target, found[part.source] + 1)
    for part in forward:
        if part.source not in found or found[part.target] != found[part.source] + 1:
            raise NmbrlError(
                f"NIR: synapses from {part.source} to {part.target} end a path that is longer or shorter than another;"
                " each takes a step on the chip, and none in NIR"
            )
    return found


class _Export:
    """A graph in the making.

    Args:
        network: what it stands for.
    """

    def __init__(self, network: Network) -> None:
        _check(network)
        self.network = network
        self.nodes: dict[str, nir.NIRNode] = {}
        self.edges: list[tuple[str, str]] = []

    def graph(self) -> nir.NIRGraph:
        """Return what was added."""
        return nir.NIRGraph(nodes=self.nodes, edges=self.edges, metadata={"dt": DT, "steps": self.network.steps})

    def add_neurons(self, biases: bool) -> None:
        """Add populations and what is between them, biases as ``v_leak`` where they are wanted."""
        for population in self.network.populations:
            if not is_readout(self.network, population.name):
                self.nodes[f"{population.name}.lif"] = _neurons(_as_lif(self.network, population.name), biases)
        for (source, target), weight in _matrices(self.network).items():
            if f"{target}.lif" not in self.nodes:
                continue
            name = f"{target}.from_{source}"
            self.nodes[name] = nir.Linear(weight=weight)
            self.edges += [(f"{source}.lif", name), (name, f"{target}.lif")]
            if source == target:
                # snnTorch 1.0.0 rebuilds loops of two nodes and sends their input through the loop's weights.
                self.nodes[f"{name}.loop"] = nir.Linear(weight=np.eye(len(weight)))
                self.edges[-1:] = [(name, f"{name}.loop"), (f"{name}.loop", f"{target}.lif")]

    def add_encoders(self, host: Host, sizes: Mapping[str, int]) -> None:
        """Add the input, and the matrices of the host."""
        ends, names = 0, input_tensors(self.network, host)
        starts = {}
        for name in names:
            starts[name] = ends
            ends += sizes[name]
        self.nodes[INPUT] = nir.Input({"input": np.array([ends + 1])})
        for place in self.network.inputs.values():
            encoder, population = host.encoders[place], _as_lif(self.network, place)
            mantissa = 2.0**population.bias_exp / UNIT
            columns = [starts[name] + k for name in encoder.tensors for k in range(sizes[name])]
            weight = np.zeros((population.size, ends + 1))
            weight[:, columns] = encoder.weights * 2.0 ** (encoder.exponent - encoder.shift) * mantissa[:, None]
            weight[:, -1] = population.bias_mant * mantissa
            self.nodes[f"{place}.encoder"] = nir.Linear(weight=weight)
            self.edges += [(INPUT, f"{place}.encoder"), (f"{place}.encoder", f"{place}.lif")]

    def add_output(self, output: str, places: Sequence[str], scales: Mapping[str, Floats]) -> None:
        """Add an output: a population's spikes, or readouts one after the other, each times its scales."""
        network = self.network
        names = [place.partition("/")[0] for place in places]
        if len(names) == 1 and not is_readout(network, names[0]) and places[0] == names[0]:
            self.nodes[output] = nir.Output({"output": np.array([network.by_name[names[0]].size])})
            self.edges.append((f"{names[0]}.lif", output))
            return
        for place, name in zip(places, names, strict=True):
            if not is_readout(network, name) or place not in (name, f"{name}/v"):
                raise NmbrlError(f"NIR: output {output} is {place}; spikes of one population and readouts are exported")
        ends = np.cumsum([0, *(network.by_name[name].size for name in names)]).tolist()
        self.nodes[output] = nir.Output({"output": np.array([ends[-1]])})
        rows = {name: slice(*ends[i : i + 2]) for i, name in enumerate(names)}
        weights: dict[str, Floats] = {}
        for (source, target), matrix in _matrices(network).items():
            if target in rows:
                whole = weights.setdefault(source, np.zeros((ends[-1], network.by_name[source].size)))
                whole[rows[target]] = matrix * np.reshape(scales.get(target, 1.0 / UNIT) * UNIT, (-1, 1))
        bias = np.zeros(ends[-1])
        for name in names:
            population = _as_lif(network, name)
            bias[rows[name]] = (population.bias_mant << population.bias_exp) * scales.get(name, 1.0 / UNIT)
        for index, (source, whole) in enumerate(weights.items()):
            node = f"{output}.from_{source}"
            self.nodes[node] = nir.Affine(weight=whole, bias=bias if index == 0 else 0 * bias)
            self.edges += [(f"{source}.lif", node), (node, output)]


def _without_idle(network: Network) -> Network:
    """Return a network without the populations that no output depends on."""
    needed = {place.partition("/")[0] for place in network.outputs.values()}
    for _ in network.populations:
        needed |= {part.source for part in network.synapses if part.target in needed}
    return Network(
        populations=tuple(part for part in network.populations if part.name in needed),
        synapses=tuple(part for part in network.synapses if {part.source, part.target} <= needed),
        inputs={name: place for name, place in network.inputs.items() if place.partition("/")[0] in needed},
        outputs=network.outputs,
        steps=network.steps,
    )


def _check(network: Network) -> None:
    """Raise an error where there is anything that has no counterpart."""
    other = [f"{part.name} ({part.kind})" for part in network.populations if type(part) is not LIF]
    if other:
        shown = ", ".join(other[:4]) + (f" and {len(other) - 4} more" if len(other) > 4 else "")
        raise NmbrlError(
            f"NIR has no graded or signed spikes and no timed resets, as {shown} have; only lif is exported"
        )
    for part in network.synapses:
        if part.delay:
            raise NmbrlError(
                f"NIR: synapses from {part.source} to {part.target} have a delay of {part.delay}; simulators have none"
            )
    for name, place in network.inputs.items():
        where, variable = network.locate(place, "given")
        if variable != "given" or is_readout(network, where):
            raise NmbrlError(f"NIR: input {name} sets {place}; only currents into neurons that spike are exported")
    for population in network.populations:
        if not _as_lif(network, population.name).dv.all() and not is_readout(network, population.name):
            raise NmbrlError(f"NIR: neurons of {population.name} do not leak (dv is 0); CubaLIF has a finite tau_mem")
    levels(network)


def _as_lif(network: Network, name: str) -> LIF:
    population = network.by_name[name]
    assert isinstance(population, LIF)
    return population


def _neurons(population: LIF, biases: bool) -> nir.CubaLIF:
    tau_mem = DT * 4096.0 / population.dv
    tau_syn = DT * 4096.0 / (population.du + 1)
    bias = (population.bias_mant << population.bias_exp) / UNIT * biases
    return nir.CubaLIF(
        tau_syn=tau_syn,
        tau_mem=tau_mem,
        r=tau_mem / DT,
        w_in=tau_syn / DT,
        v_leak=bias * tau_mem / DT,
        v_threshold=population.vth.astype(np.float64),
        v_reset=np.zeros(population.size),
    )


def _matrices(network: Network) -> dict[tuple[str, str], Floats]:
    """Return the sum of all weights from one population to another."""
    found: dict[tuple[str, str], Floats] = {}

    def add(part: Synapses) -> None:
        pair = part.source, part.target
        found[pair] = found.get(pair, 0.0) + part.weights * 2.0**part.weight_exp

    for part in network.synapses:
        add(part)
    return found
