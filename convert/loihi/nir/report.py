"""What an import into fixed point rounded, and how far the spikes are those of the graph."""

from dataclasses import dataclass

import numpy as np

from nmbrl.convert.loihi.nir.importing import SHARE, Imported
from nmbrl.convert.loihi.nir.running import Agreement
from nmbrl.targets.loihi.network import LIF
from nmbrl.targets.loihi.placement import Placement


@dataclass(frozen=True)
class Rounding:
    """What was rounded of a population.

    Attributes:
        population: its name.
        size: neurons.
        level: step in which it begins.
        decays: largest change of the share of u or of v that a step keeps.
        thresholds: largest relative change.
        weights: root mean square change of the weights that arrive at it, relative to that of the weights.
    """

    population: str
    size: int
    level: int
    decays: float
    thresholds: float
    weights: float


@dataclass(frozen=True)
class Report:
    """What became of a graph.

    Attributes:
        imported: the network.
        placement: where it lies on the chip.
        agreement: of its spikes with those of the graph in floating point, on random inputs.
    """

    imported: Imported
    placement: Placement
    agreement: Agreement


def roundings(imported: Imported) -> list[Rounding]:
    """Return what was rounded of each population that came from the graph."""
    rows = []
    for name, part in imported.graph.neurons.items():
        own = name.replace("/", "_")
        population, scale = imported.network.by_name[own], imported.scales[own]
        assert isinstance(population, LIF)
        keep_u, keep_v = 1 - (population.du + 1) / SHARE, 1 - population.dv / SHARE
        expected, found = [], []
        for source, matrix in imported.graph.arriving[name].weights.items():
            held = [
                synapses.weights * 2.0**synapses.weight_exp
                for synapses in imported.network.synapses
                if (synapses.source, synapses.target) == (source.replace("/", "_"), own)
            ]
            if held:
                expected.append((part.gain[:, None] * matrix * scale).ravel())
                found.append(held[0].ravel())
        weights = 0.0
        if expected:
            real = np.concatenate(expected)
            weights = float(np.sqrt(np.mean((np.concatenate(found) - real) ** 2) / np.mean(real**2)))
        real_thresholds = np.maximum(part.threshold, 1e-300)
        rows.append(
            Rounding(
                population=own,
                size=part.size,
                level=imported.levels[own],
                decays=float(max(np.abs(keep_u - part.keep_u).max(), np.abs(keep_v - part.keep_v).max())),
                thresholds=float(
                    np.abs(population.vth / scale / real_thresholds - 1)[part.threshold > 0].max(initial=0)
                ),
                weights=weights,
            )
        )
    return rows


def describe(report: Report) -> str:
    """Return what a user wants to know of an import."""
    spikes = report.agreement
    lines = ["population  neurons  begins in step  rounded: decays  thresholds  weights"]
    lines += [
        f"{row.population:10}  {row.size:7,}  {row.level:14}  {row.decays:15.1g}  {row.thresholds:10.1%}"
        f"  {row.weights:7.1%}"
        for row in roundings(report.imported)
    ]
    lines.append(
        f"on random inputs {spikes.found:,} spikes, in floating point {spikes.expected:,};"
        f" of the two {spikes.share:.1%} are of the same neuron in the same step"
    )
    return "\n".join(lines)
