"""The other way to Loihi: a spiking student that is trained in the chip's arithmetic to do what a run's model does."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nmbrl.convert.calibration import compute_samples
from nmbrl.convert.loihi.footprint import count_synapses, synaptic_bytes
from nmbrl.convert.loihi.lif.episodes import replayed
from nmbrl.convert.loihi.lif.growth import check_growth, measure_growth
from nmbrl.convert.loihi.lif.networks import lower
from nmbrl.convert.loihi.lif.student import Sizes
from nmbrl.convert.loihi.lif.training import Schedule, Trainer
from nmbrl.convert.provenance import make_provenance
from nmbrl.convert.verify import measure_errors
from nmbrl.runtime.fidelity import beliefs, open_loop_error
from nmbrl.targets.bundle import Bundle, write_bundle
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.files import write_bytes
from nmbrl.targets.interface import Executor
from nmbrl.targets.loihi.chips import find_chip
from nmbrl.targets.loihi.host import encode_host
from nmbrl.targets.loihi.placement import place
from nmbrl.targets.loihi.spiking_executor import SpikingExecutor
from nmbrl.targets.loihi.storage import encode_network
from nmbrl.train.deployed import TorchExecutor

if TYPE_CHECKING:
    from nmbrl.train.run import Run

PACKAGES = ("torch",)
CHECKPOINT = "checkpoint.safetensors"
# Seconds between two lines of progress, and between two checkpoints.
LINE_SECONDS, CHECKPOINT_SECONDS = 5.0, 20.0
# Decisions ahead at which imagination is compared with what happened.
HORIZONS = (1, 5, 15)

Progress = Callable[[str], None]


def convert(
    run: "Run",
    out: Path,
    progress: Progress = lambda message: None,
    weight_bits: int = 8,
    time_steps: int = 6,
    updates: int | None = None,
    seed: int | None = None,
    resume: bool = False,
    chip: str = "loihi2",
    neurons_a_core: int | None = None,
) -> Bundle:
    """Train a spiking student of a run's model and write it as a Loihi bundle.

    Args:
        run: what `nmbrl.train.run.open_run` gives.
        out: directory of the bundle; ``<out>.training`` beside it holds the checkpoint until the bundle is written.
        progress: called with what is being done, every few seconds.
        weight_bits: width of weights, the sign included, 1 to 9.
        time_steps: of a decision.
        updates: of the training; None for those of `Schedule`.
        seed: of the student; None for the run's.
        resume: go on from the checkpoint, if there is one.
        chip: key of the chip to place the networks on.
        neurons_a_core: see `nmbrl.targets.loihi.placement.place`.

    Raises:
        NmbrlError: if an option is out of range, the environment does not fit, a checkpoint is of something else, or
            the networks do not fit the chip.
    """
    checked = [("weight-bits", weight_bits, 1, 9), ("time-steps", time_steps, 2, 64)]
    if updates is not None:
        checked.append(("updates", updates, 2, 1_000_000))
    for name, value, low, high in checked:
        if not low <= value <= high:
            raise NmbrlError(f"--{name} is {value}; with --method lif it must be in {low} to {high}")
    find_chip(chip)
    seed = run.seed if seed is None else seed
    schedule = Schedule() if updates is None else Schedule().scaled(updates)
    trainer = Trainer(run, Sizes(steps=time_steps, weight_bits=weight_bits), schedule, seed)
    # What does not fit the chip is known before the training: weights change, their number and widths do not.
    place(lower(trainer.student)[1], find_chip(chip), neurons_a_core)
    side = out.with_name(f"{out.name}.training")
    train(trainer, side / CHECKPOINT, resume, progress)
    progress("verify")
    student = trainer.student.eval()
    functions, networks, host = lower(student)
    placement = place(networks, find_chip(chip), neurons_a_core)
    executor = SpikingExecutor(
        student.interface, dict(student.macs), functions, networks, "strict", placement, host=host
    )
    samples = compute_samples(student, run.calibration, seed)
    growth = measure_growth(executor, samples)
    check_growth(growth, host.readouts)
    errors = measure_errors(executor, TorchExecutor(student), samples)
    files = encode_host(host)
    for name, network in networks.items():
        files |= encode_network(network, name)
    options = {
        "method": "lif",
        "weight_bits": weight_bits,
        "time_steps": time_steps,
        "updates": schedule.updates,
        "seed": seed,
        "chip": chip,
        "neurons_a_core": neurons_a_core,
    }
    bundle = write_bundle(
        out,
        files,
        target="loihi",
        interface=student.interface,
        functions=functions,
        provenance=make_provenance(run, PACKAGES, options),
        measured={
            "macs": dict(student.macs),
            "bytes": synaptic_bytes(placement),
            "errors": errors,
            "growth": growth,
            "imagination": {"float": imagination(TorchExecutor(run.model), run), "lif": imagination(executor, run)},
            "losses": {name: float(f"{value:.4g}") for name, value in trainer.metrics.items()},
            "neurons": {name: sum(part.size for part in network.populations) for name, network in networks.items()},
            "synapses": {name: count_synapses(network) for name, network in networks.items()},
            "steps": {name: network.steps for name, network in networks.items()},
            "cores": placement.count(),
        },
        details={"placement": placement.model_dump(mode="json")},
    )
    shutil.rmtree(side, ignore_errors=True)
    return bundle


def train(trainer: Trainer, checkpoint: Path, resume: bool, progress: Progress) -> None:
    """Train to the end, saying how it goes and writing a checkpoint every now and then.

    Args:
        trainer: what to train.
        checkpoint: file that is replaced.
        resume: go on from `checkpoint` where there is one.
        progress: see `convert`.

    Raises:
        NmbrlError: if the checkpoint is damaged, or of another run, other options or another seed.
    """
    if resume and checkpoint.exists():
        try:
            content = checkpoint.read_bytes()
        except OSError as error:
            raise NmbrlError(f"cannot read {checkpoint}: {error.strerror}") from error
        if not trainer.load(content, str(checkpoint)):
            raise NmbrlError(
                f"{checkpoint} is of another run, of other options or seed; leave out --resume to begin anew"
            )
    pace = _Pace(trainer)
    saved = time.monotonic()
    for doing in trainer.train():
        line = pace.describe(doing)
        if line is not None:
            progress(line)
        if trainer.corpus is not None and time.monotonic() - saved > CHECKPOINT_SECONDS:
            write_bytes(checkpoint, trainer.save())
            saved = time.monotonic()


class _Pace:
    """Says how far a training is, every few seconds."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.doing = ""
        self.said = 0.0
        self.marks: list[tuple[float, int]] = []

    def describe(self, doing: str) -> str | None:
        """Return a line, if it is time for one or something else is being done."""
        now, trainer = time.monotonic(), self.trainer
        if doing == self.doing and now - self.said < LINE_SECONDS:
            return None
        self.doing, self.said = doing, now
        # The speed is that of the last lines: parts of a student differ in size.
        self.marks = [*self.marks[-6:], (now, trainer.done)]
        line = f"train: update {trainer.done:,} of {trainer.schedule.updates:,}, {doing}"
        if trainer.metrics:
            line += ", " + ", ".join(f"{name} error {value:.3g}" for name, value in trainer.metrics.items())
        start, first = self.marks[0]
        if trainer.done > first:
            left = int((now - start) / (trainer.done - first) * (trainer.schedule.updates - trainer.done))
            line += f", {left // 60}:{left % 60:02d} left"
        return line


def imagination(executor: Executor, run: "Run") -> dict[str, float]:
    """Return how far imagination departs from the run's replay, in standard deviations, by decisions ahead."""
    episodes = replayed(run.calibration)
    error = open_loop_error(executor, episodes, beliefs(executor, episodes), max(HORIZONS)).overall
    return {str(ahead): float(f"{error[ahead - 1]:.6g}") for ahead in HORIZONS if ahead <= len(error)}


__all__ = ["convert"]
