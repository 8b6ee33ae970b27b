"""How far targets are from float, tensor by tensor and decision by decision, and which are equal bit for bit."""

import json
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from nmbrl.runtime.closed_loop import Episode
from nmbrl.runtime.report.document import Comparison, Fidelity, Sensitivity, TensorError
from nmbrl.runtime.report.subject import Subject
from nmbrl.runtime.report.world import Followed, rounded
from nmbrl.targets.bundle import Bundle
from nmbrl.targets.interface import Array

# Edges of the histogram of action errors; box actions are in [-1, 1].
ACTION_BINS = (0.0, *(round(float(edge), 6) for edge in np.geomspace(1e-3, 2.0, 23)))
LAGS = 30
# What `nmbrl-convert --sensitivity` ranks tensors by, and how many are shown.
AHEAD, COSTLIEST = 5, 25


def measure_fidelity(subject: Subject, followed: Followed, reference: Followed | None) -> Fidelity:
    """Describe how far a run or bundle is from float."""
    difference = followed.actions - reference.actions if reference is not None else np.zeros((0, 1))
    return Fidelity(
        tensors=_tensors(subject.bundle),
        sensitivity=_sensitivity(subject),
        checks=_checks(subject.bundle),
        action_errors=_histogram(np.abs(difference).max(axis=1, initial=0.0)),
        autocorrelation=_autocorrelation(difference, [len(states) for states in followed.states]),
    )


def compare(
    names: Sequence[str], loops: Sequence[Sequence[Episode]], followed: Sequence[Followed | None]
) -> tuple[Comparison, ...]:
    """Compare every pair of rows bit for bit.

    Args:
        names: of the rows.
        loops: their closed loops, the same episodes.
        followed: what they made of the same recorded inputs; None for boards. Numbers of rows whose beliefs are of
            other sizes, as a spiking student's are, are not compared.
    """
    numbers = [None if made is None else made.numbers for made in followed]
    found = []
    for first, second in combinations(range(len(names)), 2):
        decisions, differing = _decisions(loops[first], loops[second])
        ours, theirs = numbers[first], numbers[second]
        both = ours is not None and theirs is not None and ours.shape == theirs.shape
        found.append(
            Comparison(
                rows=(names[first], names[second]),
                decisions=decisions,
                decisions_differing=differing,
                numbers=len(ours) if both and ours is not None else None,
                numbers_differing=int(np.count_nonzero(ours != theirs)) if both else None,
            )
        )
    return tuple(found)


def _decisions(ours: Sequence[Episode], theirs: Sequence[Episode]) -> tuple[int, int]:
    """Decisions that either took, and how many of them the other did not take alike."""
    total, equal = 0, 0
    for mine, other in zip(ours, theirs, strict=True):
        both = min(len(mine.actions), len(other.actions))
        total += max(len(mine.actions), len(other.actions))
        equal += int((np.stack(mine.actions[:both]) == np.stack(other.actions[:both])).all(axis=1).sum())
    return total, total - equal


def _tensors(bundle: Bundle | None) -> tuple[TensorError, ...]:
    """Errors of every output that the conversion measured."""
    if bundle is None:
        return ()
    rows = []
    for function, outputs in bundle.measured.get("errors", {}).items():
        tensors = {tensor.name: tensor for tensor in bundle.functions[function].outputs}
        for name, error in outputs.items():
            tensor = tensors.get(name)
            rows.append(
                TensorError(
                    function=function,
                    tensor=name,
                    dtype=tensor.dtype if tensor else "float32",
                    step=tensor.scale if tensor else None,
                    mean=error["mean"],
                    worst=error["worst"],
                    span=error["range"],
                )
            )
    return tuple(rows)


def _sensitivity(subject: Subject) -> tuple[Sensitivity, ...]:
    file = subject.path / "sensitivity.json"
    if subject.bundle is None or file.name not in subject.bundle.files:
        return ()
    rows: list[dict[str, Any]] = json.loads(file.read_text())["rows"]
    key = f"observation_{AHEAD}"
    return tuple(
        Sensitivity(
            tensor=row["tensor"],
            kind=row["kind"],
            computation=row["computation"],
            alone=row["alone"][key],
            ahead=AHEAD,
        )
        for row in sorted((row for row in rows if key in row["alone"]), key=lambda row: -row["alone"][key])[:COSTLIEST]
    )


def _checks(bundle: Bundle | None) -> dict[str, tuple[int, int]]:
    if bundle is None:
        return {}
    return {what: (check["compared"], check["differing"]) for what, check in bundle.measured.get("checks", {}).items()}


def _histogram(errors: Array) -> tuple[float, ...]:
    if not len(errors):
        return ()
    return rounded(np.histogram(np.minimum(errors, ACTION_BINS[-1]), ACTION_BINS)[0] / len(errors))


def _autocorrelation(difference: np.ndarray, lengths: Sequence[int]) -> tuple[float, ...]:
    """Correlation of the difference with itself some decisions later, within episodes, over all action dimensions."""
    episodes = np.split(difference, np.cumsum(lengths)[:-1]) if len(difference) else []
    if not episodes or not np.any(difference):
        return ()
    centred = [episode - difference.mean(axis=0) for episode in episodes]
    variance = np.mean(np.concatenate(centred) ** 2)
    if variance == 0:
        return ()
    lags = range(min(LAGS + 1, min(lengths)))
    products = [np.concatenate([e[: len(e) - lag] * e[lag:] for e in centred]).mean() for lag in lags]
    return rounded(np.array(products) / variance)
