"""Lowering to Loihi: every core function as a sigma-delta network of graded spikes, or a spiking student (`lif`)."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nmbrl.convert.calibration import compute_samples
from nmbrl.convert.loihi.emission import SEGMENTS, Emission, scale_of
from nmbrl.convert.loihi.footprint import count_synapses, synaptic_bytes
from nmbrl.convert.loihi.lowering import Graph, lower
from nmbrl.convert.loihi.scales import Scales, choose_scales, measure_ranges, tie_states
from nmbrl.convert.provenance import make_provenance
from nmbrl.convert.verify import measure_errors
from nmbrl.targets.bundle import Bundle, Function, Tensor, write_bundle
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.chips import find_chip
from nmbrl.targets.loihi.executor import LoihiExecutor
from nmbrl.targets.loihi.network import Network
from nmbrl.targets.loihi.placement import place
from nmbrl.targets.loihi.storage import encode_network
from nmbrl.targets.plugins import unknown_options
from nmbrl.train.deployed import DeployedModel, TorchExecutor, layer_macs

if TYPE_CHECKING:
    from nmbrl.train.run import Run

PACKAGES = ("torch",)


Progress = Callable[[str], None]


def convert(
    run: "Run",
    out: Path,
    progress: Progress = lambda message: None,
    method: str = "sigma-delta",
    **options: Any,
) -> Bundle:
    """Write a run's model as a Loihi bundle.

    Args:
        run: what `nmbrl.train.run.open_run` gives.
        out: directory of the bundle.
        progress: called with the name of every step before it starts.
        method: name in `METHODS`.
        **options: of the method.

    Raises:
        NmbrlError: if the method is unknown, does not have an option, or fails.
    """
    if method not in METHODS:
        raise NmbrlError(f"unknown method {method!r} for Loihi; choose from {', '.join(METHODS)}")
    unknown = unknown_options(METHODS[method](), 3, options)
    if unknown:
        raise NmbrlError(f"--{unknown[0].replace('_', '-')} is no option of method {method}")
    return METHODS[method]()(run, out, progress, **options)


def _find_lif() -> Callable[..., Bundle]:
    from nmbrl.convert.loihi import lif  # which uses this module's neighbours

    return lif.convert


def convert_sigma_delta(
    run: "Run",
    out: Path,
    progress: Progress = lambda message: None,
    threshold: float = 0.0,
    message_bits: int = 16,
    weight_bits: int = 8,
    chip: str = "loihi2",
    neurons_a_core: int | None = None,
) -> Bundle:
    """Write a run's model as sigma-delta networks.

    Args:
        run: see `convert`.
        out: see `convert`.
        progress: see `convert`.
        threshold: changes smaller than this many steps of a population's messages are not sent.
        message_bits: width of messages, signed.
        weight_bits: width of weights without their sign.
        chip: key of the chip to place the networks on.
        neurons_a_core: see `nmbrl.targets.loihi.placement.place`.

    Raises:
        NmbrlError: if the networks do not fit the chip, the model uses an operation that has no counterpart, or an
            option is out of range.
    """
    progress("calibrate")
    samples = compute_samples(run.model, run.calibration, run.seed)
    progress("lower")
    functions, networks = build(run.model, samples.inputs, threshold, message_bits, weight_bits)
    progress("place")
    placement = place(networks, find_chip(chip), neurons_a_core)
    progress("verify")
    executor = LoihiExecutor(run.model.interface, dict(run.model.macs), functions, networks, "strict")
    errors = measure_errors(executor, TorchExecutor(run.model), samples)
    files: dict[str, bytes] = {}
    for name, network in networks.items():
        files |= encode_network(network, name)
    options = {
        "method": "sigma-delta",
        "threshold": threshold,
        "message_bits": message_bits,
        "weight_bits": weight_bits,
        "table_segments": SEGMENTS,
        "chip": chip,
        "neurons_a_core": neurons_a_core,
    }
    return write_bundle(
        out,
        files,
        target="loihi",
        interface=run.model.interface,
        functions=functions,
        provenance=make_provenance(run, PACKAGES, options),
        measured={
            "macs": dict(run.model.macs),
            "layers": layer_macs(run.model),
            "bytes": synaptic_bytes(placement),
            "errors": errors,
            "neurons": {name: sum(part.size for part in network.populations) for name, network in networks.items()},
            "synapses": {name: count_synapses(network) for name, network in networks.items()},
            "steps": {name: network.steps for name, network in networks.items()},
            "cores": placement.count(),
        },
        details={"placement": placement.model_dump(mode="json")},
    )


def build(
    model: DeployedModel,
    samples: dict[str, dict[str, np.ndarray]],
    threshold: float = 0.0,
    message_bits: int = 16,
    weight_bits: int = 8,
) -> tuple[dict[str, Function], dict[str, Network]]:
    """Make the networks of a model, and the record of their inputs and outputs.

    Args:
        model: the float model.
        samples: inputs (samples, size) of each function, by name, to calibrate on.
        threshold: see `convert`.
        message_bits: see `convert`.
        weight_bits: see `convert`.
    """
    _check_options(threshold, message_bits, weight_bits)
    interface = model.interface
    graphs = {
        function: lower(model.core(function), interface.input_sizes(function), tuple(interface.output_sizes(function)))
        for function in interface.functions
    }
    ranges = measure_ranges(graphs, samples)
    tied = tie_states(graphs, tuple(segment.name for segment in interface.state))
    scales = choose_scales(graphs, ranges, tied, message_bits, weight_bits)
    networks = {
        function: Emission(function, graph, scales, ranges, message_bits, weight_bits, threshold).network()
        for function, graph in graphs.items()
    }
    return {function: _function(function, graph, scales) for function, graph in graphs.items()}, networks


def _check_options(threshold: float, message_bits: int, weight_bits: int) -> None:
    for name, value, low, high in (
        ("threshold", threshold, 0, 1 << 15),
        ("message_bits", message_bits, 6, 24),
        ("weight_bits", weight_bits, 2, 8),
    ):
        if not low <= value <= high:
            raise NmbrlError(f"{name} is {value}; it must be in {low} to {high}")


def _function(name: str, graph: Graph, scales: Scales) -> Function:
    sizes = {node.name: node.size for node in graph.nodes}

    def tensors(nodes: dict[str, str]) -> tuple[Tensor, ...]:
        return tuple(
            Tensor(name=tensor, size=sizes[node], dtype="int32", scale=scale_of(scales, (name, node)), zero_point=0)
            for tensor, node in nodes.items()
        )

    return Function(file=f"{name}.json", inputs=tensors(graph.inputs), outputs=tensors(graph.outputs))


# How to find what converts by each method.
METHODS: dict[str, Callable[[], Callable[..., Bundle]]] = {
    "sigma-delta": lambda: convert_sigma_delta,
    "lif": _find_lif,
}

__all__ = ["METHODS", "build", "convert"]
