"""Lowering to integer TFLite for TensorFlow Lite Micro: one model a function, one scale a quantity."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tflite_micro import runtime as tflm

from nmbrl.convert.calibration import Samples, compute_samples
from nmbrl.convert.drift import DriftMeter
from nmbrl.convert.provenance import make_provenance
from nmbrl.convert.quantities import shared_ranges
from nmbrl.convert.quiet import captured
from nmbrl.convert.sensitivity_table import FILE as SENSITIVITY
from nmbrl.convert.tflite_finetune import fine_tune, improvement, split_episodes, with_weights
from nmbrl.convert.tflite_int16 import check_choice
from nmbrl.convert.tflite_lower import lower
from nmbrl.convert.tflite_quantise import Quantised, measure_ranges, quantise_in_ranges
from nmbrl.convert.tflite_sensitivity import measure_sensitivity
from nmbrl.convert.tflite_simulate import Simulation
from nmbrl.convert.verify import measure_errors
from nmbrl.targets.bundle import Bundle, Function, write_bundle
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Interface
from nmbrl.targets.tflite import TfliteExecutor
from nmbrl.train.deployed import DeployedModel, TorchExecutor, layer_macs

if TYPE_CHECKING:
    from nmbrl.train.run import Run

PACKAGES = ("torch", "litert-torch", "litert-converter", "ai-edge-litert", "ai-edge-quantizer", "tflite-micro")


def convert(
    run: "Run",
    out: Path,
    progress: Callable[[str], None] = lambda message: None,
    int16: str | None = None,
    finetune: int = 0,
    seed: int | None = None,
    sensitivity: bool = False,
) -> Bundle:
    """Write a run's model as an integer TFLite bundle.

    Args:
        run: what `nmbrl.train.run.open_run` gives.
        out: directory of the bundle.
        progress: called with the name of every step before it starts.
        int16: activations that are int16, see `nmbrl.convert.tflite_int16`; None for int8 throughout.
        finetune: updates that fit the weights to their rounding; they are kept if they help on held-out episodes.
        seed: of fine-tuning; None for the run's.
        sensitivity: whether to measure what rounding each tensor costs, which takes longer than everything else.

    Raises:
        NmbrlError: if a function cannot be lowered or quantised, TFLM does not run it, or an option is out of range.
    """
    check_choice(int16)
    if finetune < 0:
        raise NmbrlError(f"--finetune is {finetune}; give a number of updates")
    if seed is not None and not finetune:
        raise NmbrlError("--seed is the seed of --finetune, which is not asked for")
    seed = run.seed if seed is None else seed
    interface = run.model.interface
    progress("calibrate")
    reference = TorchExecutor(run.model)
    samples = compute_samples(run.model, run.calibration, run.seed)
    lowered = {}
    for function in interface.functions:
        progress(f"{function}: lower")
        lowered[function] = lower(run.model, function)
    progress("quantise")
    quantiser = _Quantiser(run.model, lowered, samples, int16)
    floats, quantised = lowered, quantiser.quantise(lowered)
    macs = dict(run.model.macs)
    measured: dict[str, Any] = {"macs": macs, "layers": layer_macs(run.model)}
    if finetune:
        tuned_floats, tuned, tuning = _fine_tune(run, quantiser, quantised, finetune, seed, progress)
        measured["finetuning"] = tuning
        if tuning["kept"]:
            floats, quantised = tuned_floats, tuned
    progress("verify")
    models, records = _models(quantised), {function: record for function, (_, record) in quantised.items()}
    executor, meter = _executor(interface, macs, quantised), DriftMeter(reference, run.calibration)
    try:
        errors, drift = measure_errors(executor, reference, samples), meter.measure(executor).at()
    except RuntimeError as error:
        raise NmbrlError(f"TFLM cannot run the models on a batch: {error}") from error
    measured |= {
        "bytes": {function: len(content) for function, content in models.items()},
        "arena_bytes": {function: arena_bytes(content, records[function]) for function, content in models.items()},
        "errors": errors,
        "drift": drift,
    }
    files = {records[function].file: content for function, content in models.items()}
    if sensitivity:
        progress("sensitivity")
        table = measure_sensitivity(interface, run.model, Simulation(floats, models), lowered, meter)
        files[SENSITIVITY] = table.to_json().encode()
    options = {"int16": int16, "finetune": finetune or None, "seed": seed if finetune else None}
    return write_bundle(
        out,
        files,
        target="tflite",
        interface=interface,
        functions=records,
        provenance=make_provenance(
            run, PACKAGES, {name: given for name, given in options.items() if given is not None}
        ),
        measured=measured,
    )


class _Quantiser:
    """Quantises models of the same structure in the same ranges, those of the run's model."""

    def __init__(self, model: DeployedModel, floats: dict[str, bytes], samples: Samples, int16: str | None) -> None:
        self.interface, self.floats, self.samples, self._int16 = model.interface, floats, samples, int16
        self._inner = measure_ranges(self.interface, floats, samples, int16)
        self._shared = shared_ranges(TorchExecutor(model), samples)

    def quantise(self, floats: dict[str, bytes]) -> Quantised:
        return quantise_in_ranges(self.interface, floats, self._inner, self._shared, self._int16)


def _fine_tune(
    run: "Run",
    quantiser: _Quantiser,
    quantised: Quantised,
    updates: int,
    seed: int,
    progress: Callable[[str], None],
) -> tuple[dict[str, bytes], Quantised, dict[str, Any]]:
    """Return the tuned float models, the integer ones, and what they are like on episodes that they did not see."""
    split = split_episodes(run.calibration)
    simulation = Simulation(quantiser.floats, _models(quantised))
    fine_tune(run.model, simulation, split.learning, quantiser.samples, updates, seed, progress)
    floats = with_weights(quantiser.floats, simulation)
    tuned = quantiser.quantise(floats)
    meter = DriftMeter(TorchExecutor(run.model), split.judging)
    before, after = (
        meter.measure(_executor(run.model.interface, dict(run.model.macs), models)) for models in (quantised, tuned)
    )
    factor = improvement(before, after)
    record = {
        "before": before.at(),
        "after": after.at(),
        "improvement": float(f"{factor:.6g}"),
        "kept": factor > 1,
        "episodes": {"learning": len(split.learning["a"]), "judging": len(split.judging["a"])},
    }
    return floats, tuned, record


def _models(quantised: Quantised) -> dict[str, bytes]:
    return {function: content for function, (content, _) in quantised.items()}


def _executor(interface: Interface, macs: dict[str, int], quantised: Quantised) -> TfliteExecutor:
    records = {function: record for function, (_, record) in quantised.items()}
    return TfliteExecutor(interface, macs, records, _models(quantised))


def arena_bytes(content: bytes, record: Function) -> int:
    """Return the bytes of tensor arena that TFLM allocates for a model, as its recording allocator counts them.

    Raises:
        NmbrlError: if TFLM cannot run the model.
    """
    with captured() as text:
        try:
            interpreter = tflm.Interpreter.from_bytes(content)
            for index, tensor in enumerate(record.inputs):
                interpreter.set_input(np.zeros((1, tensor.size), tensor.dtype), index)
            interpreter.invoke()
            interpreter.print_allocations()
        except RuntimeError as error:
            raise NmbrlError(f"TFLM cannot run {record.file}: {error}") from error
    found = re.search(r"Arena allocation total (\d+) bytes", text[0])
    if found is None:
        raise NmbrlError(f"TFLM did not say how much arena {record.file} needs")
    return int(found.group(1))
