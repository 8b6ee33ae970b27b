"""Lowering to Loihi: every core function as a sigma-delta network of graded spikes, or a spiking student (`lif`)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nmbrl.convert.calibration import compute_samples
from nmbrl.convert.loihi.emission import SEGMENTS, Emission, scale_of
from nmbrl.convert.loihi.finetuning import FineTuning
from nmbrl.convert.loihi.footprint import count_synapses, synaptic_bytes
from nmbrl.convert.loihi.growth import check_growth, measure_growth
from nmbrl.convert.loihi.lowering import Graph, lower
from nmbrl.convert.loihi.rehearsal import Rehearsal
from nmbrl.convert.loihi.scales import Ranges, Scales, choose_scales, measure_ranges, tie_states
from nmbrl.convert.loihi.sensitivity import measure_sensitivities
from nmbrl.convert.loihi.thresholds import Allocation, Choice, judge, with_thresholds
from nmbrl.convert.provenance import make_provenance
from nmbrl.convert.verify import measure_errors
from nmbrl.targets.bundle import Bundle, Function, Tensor, write_bundle
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Interface
from nmbrl.targets.loihi.chips import LOIHI_2, Chip, find_chip
from nmbrl.targets.loihi.executor import LoihiExecutor
from nmbrl.targets.loihi.network import Network
from nmbrl.targets.loihi.placement import place
from nmbrl.targets.loihi.storage import encode_network
from nmbrl.targets.plugins import unknown_options
from nmbrl.train.deployed import DeployedModel, TorchExecutor, layer_macs

if TYPE_CHECKING:
    from nmbrl.train.run import Run

PACKAGES = ("torch",)
# Smallest and largest error that thresholds may be chosen for.
BUDGETS = 0.0, 10.0


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
    error_budget: float | None = None,
    sparsity: float | None = None,
    finetune: int = 0,
    seed: int | None = None,
) -> Bundle:
    """Write a run's model as sigma-delta networks.

    Args:
        run: see `convert`.
        out: see `convert`.
        progress: see `convert`.
        threshold: changes smaller than this many steps of a population's messages are not sent.
        message_bits: width of messages, signed.
        weight_bits: width of weights as stored, of both signs with their sign.
        chip: key of the chip to place the networks on.
        neurons_a_core: see `nmbrl.targets.loihi.placement.place`.
        error_budget: instead of `threshold`, thresholds of each neuron that save the most messages at this root mean
            square error of actions (in [-1, 1]), imagination and values (in standard deviations) on calibration data.
        sparsity: instead, thresholds at which this share of possible messages is not sent on calibration data.
        finetune: updates that fit weights and thresholds of the policy's networks to send less; the error budget is
            then of actions in the closed loop with the float model as its plant.
        seed: of fine-tuning; None for the run's.

    Raises:
        NmbrlError: if the networks do not fit the chip, the model uses an operation that has no counterpart, or an
            option is out of range.
    """
    _check_options(threshold, message_bits, weight_bits, error_budget, sparsity)
    check_finetune(finetune, error_budget, seed)
    seed = run.seed if seed is None else seed
    found = _find_graded_chip(chip, message_bits)
    progress("calibrate")
    samples = compute_samples(run.model, run.calibration, run.seed)
    progress("lower")
    lowered = lower_model(run.model, samples.inputs, message_bits, weight_bits)
    functions, networks = lowered.functions, lowered.emit(threshold)
    chosen: dict[str, Any] = {}
    if error_budget is not None or sparsity is not None:
        progress("choose thresholds")
        choice = choose_thresholds(
            run.model, run.calibration, lowered, error_budget, sparsity, finetune, seed, progress
        )
        functions, networks = choice.functions, choice.networks
        chosen = {"not_sent": 1 - choice.sent, "errors": choice.errors}
    progress("place")
    placement = place(networks, found, neurons_a_core)
    progress("verify")
    executor = LoihiExecutor(run.model.interface, dict(run.model.macs), functions, networks, "strict")
    growth = measure_growth(executor, samples.inputs)
    check_growth(growth, networks)
    errors = measure_errors(executor, TorchExecutor(run.model), samples)
    files: dict[str, bytes] = {}
    for name, network in networks.items():
        files |= encode_network(network, name)
    options = {
        "method": "sigma-delta",
        "threshold": threshold,
        "error_budget": error_budget,
        "sparsity": sparsity,
        "finetune": finetune or None,
        "seed": seed if finetune else None,
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
            "growth": growth,
            "neurons": {name: sum(part.size for part in network.populations) for name, network in networks.items()},
            "synapses": {name: count_synapses(network) for name, network in networks.items()},
            "steps": {name: network.steps for name, network in networks.items()},
            "cores": placement.count(),
            **({"thresholds": chosen} if chosen else {}),
        },
        details={"placement": placement.model_dump(mode="json")},
    )


@dataclass(frozen=True)
class Lowered:
    """A model as graphs with all that their networks follow from.

    Attributes:
        samples: inputs (samples, size) of each function, by name, that it is calibrated on.
        graphs: of each function.
        ranges: of their nodes.
        scales: of their nodes.
        message_bits: see `convert`.
        weight_bits: see `convert`.
        functions: record of the inputs and outputs of each.
    """

    samples: dict[str, dict[str, np.ndarray]]
    graphs: dict[str, Graph]
    ranges: Ranges
    scales: Scales
    message_bits: int
    weight_bits: int
    functions: dict[str, Function]

    def emit(self, threshold: float = 0.0) -> dict[str, Network]:
        """Make the networks; see `convert` for the threshold."""
        bits = self.message_bits, self.weight_bits
        return {
            function: Emission(function, graph, self.scales, self.ranges, *bits, threshold).network()
            for function, graph in self.graphs.items()
        }


def lower_model(
    model: DeployedModel, samples: dict[str, dict[str, np.ndarray]], message_bits: int = 16, weight_bits: int = 8
) -> Lowered:
    """Lower a model's functions and choose their scales.

    Args:
        model: the float model.
        samples: inputs (samples, size) of each function, by name, to calibrate on.
        message_bits: see `convert`.
        weight_bits: see `convert`.
    """
    interface = model.interface
    graphs = {
        function: lower(model.core(function), interface.input_sizes(function), tuple(interface.output_sizes(function)))
        for function in interface.functions
    }
    return scale_graphs(graphs, interface, samples, message_bits, weight_bits)


def scale_graphs(
    graphs: dict[str, Graph],
    interface: Interface,
    samples: dict[str, dict[str, np.ndarray]],
    message_bits: int,
    weight_bits: int,
) -> Lowered:
    """Choose the scales of a model's graphs; see `lower_model`."""
    ranges = measure_ranges(graphs, samples)
    tied = tie_states(graphs, tuple(segment.name for segment in interface.state))
    scales = choose_scales(graphs, ranges, tied, message_bits, weight_bits)
    functions = {function: _function(function, graph, scales) for function, graph in graphs.items()}
    return Lowered(samples, graphs, ranges, scales, message_bits, weight_bits, functions)


def build(
    model: DeployedModel,
    samples: dict[str, dict[str, np.ndarray]],
    threshold: float = 0.0,
    message_bits: int = 16,
    weight_bits: int = 8,
) -> tuple[dict[str, Function], dict[str, Network]]:
    """Make the networks of a model, and the record of their inputs and outputs; see `convert` and `lower_model`."""
    _check_options(threshold, message_bits, weight_bits)
    lowered = lower_model(model, samples, message_bits, weight_bits)
    return lowered.functions, lowered.emit(threshold)


def choose_thresholds(
    model: DeployedModel,
    calibration: dict[str, np.ndarray],
    lowered: Lowered,
    error_budget: float | None = None,
    sparsity: float | None = None,
    finetune: int = 0,
    seed: int = 0,
    progress: Progress = lambda message: None,
) -> Choice:
    """Choose a threshold for each neuron, and fit weights to them if asked to; see `convert_sigma_delta`."""
    rehearsal = Rehearsal(model, calibration)
    networks = lowered.emit()
    sensitivities = measure_sensitivities(lowered.graphs, rehearsal)
    open_executor = _opener(model, lowered)
    allocation = Allocation(rehearsal, sensitivities, lowered.scales, lowered.ranges, networks, open_executor)
    if error_budget is None:
        assert sparsity is not None
        return allocation.silent(sparsity)
    choice = allocation.within(error_budget)
    if not finetune:
        return choice
    thresholds = allocation.thresholds()
    tuning = FineTuning(rehearsal, lowered.graphs, thresholds, error_budget, seed)
    tuning.run(finetune, progress)
    bits = lowered.message_bits, lowered.weight_bits
    tuned = scale_graphs({**lowered.graphs, **tuning.graphs()}, model.interface, lowered.samples, *bits)
    made = with_thresholds(tuned.emit(), tuned.scales, {**thresholds, **tuning.thresholds()})
    return judge(rehearsal, made, _opener(model, tuned))


def _opener(model: DeployedModel, lowered: Lowered) -> Callable[[dict[str, Network]], LoihiExecutor]:
    """Return what makes an executor of a model's networks."""
    placement = place(lowered.emit(), LOIHI_2)
    return lambda made: LoihiExecutor(model.interface, dict(model.macs), lowered.functions, made, placement=placement)


def _check_options(
    threshold: float,
    message_bits: int,
    weight_bits: int,
    error_budget: float | None = None,
    sparsity: float | None = None,
) -> None:
    for name, value, low, high in (
        ("threshold", threshold, 0, 1 << 15),
        ("message_bits", message_bits, 6, 24),
        ("weight_bits", weight_bits, 2, 8),
        ("error_budget", error_budget, *BUDGETS),
        ("sparsity", sparsity, 0, 0.99),
    ):
        if value is not None:
            check_range(name, value, low, high)
    if (threshold > 0) + (error_budget is not None) + (sparsity is not None) > 1:
        raise NmbrlError("give one of --threshold, --error-budget and --sparsity")


def _find_graded_chip(key: str, message_bits: int) -> Chip:
    """Return a chip whose messages are as wide."""
    chip = find_chip(key)
    if message_bits > chip.message_bits:
        raise NmbrlError(
            f"{chip.name}: bits of a message: {message_bits}, at most {chip.message_bits}; sigma-delta networks fit"
            " loihi2, and --method lif fits both"
        )
    return chip


def check_finetune(updates: int, error_budget: float | None, seed: int | None = None) -> None:
    """Check the options.

    Raises:
        NmbrlError: if updates are negative, there is no error budget to keep to, or a seed without updates.
    """
    if updates < 0:
        raise NmbrlError(f"--finetune is {updates}; give a number of updates")
    if updates and not error_budget:
        raise NmbrlError("--finetune needs an --error-budget above 0")
    if seed is not None and not updates:
        raise NmbrlError("--seed is the seed of --finetune, which is not asked for")


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Check an option.

    Raises:
        NmbrlError: if it is out of range.
    """
    if not low <= value <= high:
        raise NmbrlError(f"--{name.replace('_', '-')} is {value}; with sigma-delta it must be in {low} to {high}")


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
