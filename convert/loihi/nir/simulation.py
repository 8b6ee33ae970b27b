"""A NIR graph in floating point: forward Euler, what the fixed-point network is compared with."""

from collections.abc import Mapping

import numpy as np

from nmbrl.convert.loihi.nir.graph import Arriving, Floats, Graph
from nmbrl.targets.loihi.spiking import ALIGNMENT

UNIT = 1 << ALIGNMENT


def simulate(graph: Graph, inputs: Mapping[str, Floats], truncate: bool = False) -> dict[str, Floats]:
    """Run a graph from rest; see `nmbrl.convert.loihi.nir.graph` for the equations.

    Args:
        graph: what to run.
        inputs: of every input (steps, batch, size): spikes, or currents.
        truncate: whether what a step keeps loses what is less than 1/64, toward zero, as on the chip. A graph that was
            exported from a network then has its spikes exactly.

    Returns:
        What outputs are, and the spikes of every population, by name (steps, batch, size).
    """
    steps, batch = next(iter(inputs.values())).shape[:2]
    u = {name: np.zeros((batch, part.size)) for name, part in graph.neurons.items()}
    v = {name: np.zeros((batch, part.size)) for name, part in graph.neurons.items()}
    now = {name: np.zeros((batch, part.size)) for name, part in graph.neurons.items()}
    order = _order(graph)
    found = {name: np.zeros((steps, batch, part.size)) for name, part in graph.neurons.items()}
    found |= {name: np.zeros((steps, batch, np.size(graph.arriving[name].constant))) for name in graph.outputs}
    keep = _truncated if truncate else np.multiply
    for t in range(steps):
        now |= {name: array[t] for name, array in inputs.items()}
        for name in order:
            part = graph.neurons[name]
            u[name] = keep(part.keep_u, u[name]) + part.gain * _sum(graph.arriving[name], now)
            v[name] = keep(part.keep_v, v[name]) + u[name] + part.bias
            now[name] = (v[name] > part.threshold).astype(np.float64)
            v[name] *= 1 - now[name]
            found[name][t] = now[name]
        for name in graph.outputs:
            found[name][t] = _sum(graph.arriving[name], now)
    return found


def _truncated(share: Floats, x: Floats) -> Floats:
    """Return the share of x in whole steps of 1/64; shares are those of 4096 that floating point stands for."""
    product = np.rint(share * 4096) * np.rint(x * UNIT)
    return np.trunc(product / 4096) / UNIT


def _sum(arriving: Arriving, now: Mapping[str, Floats]) -> Floats:
    return sum((now[source] @ weights.T for source, weights in arriving.weights.items()), np.asarray(arriving.constant))


def _order(graph: Graph) -> list[str]:
    """Return the populations, those that others get spikes from before them; a loop is cut where it is entered."""
    order: list[str] = []
    waiting = list(graph.neurons)
    while waiting:
        ready = [
            name
            for name in waiting
            if all(source not in waiting or source == name for source in graph.arriving[name].weights)
        ]
        chosen = ready[0] if ready else waiting[0]
        order.append(chosen)
        waiting.remove(chosen)
    return order
