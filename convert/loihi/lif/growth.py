"""How far the numbers of a spiking network grow on calibration data, and whether the chip's widths leave room."""

from collections.abc import Mapping

import numpy as np

from nmbrl.convert.calibration import Samples
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.executor import open_simulator
from nmbrl.targets.loihi.limits import STATE_BITS, SYNAPTIC_BITS
from nmbrl.targets.loihi.spiking_executor import SpikingExecutor

# Numbers may grow to this multiple of the largest seen in calibration.
MARGIN = 2.0
# Variables and their widths; what arrives in the next step is what synapses delivered in this.
WIDTHS = {"arriving": SYNAPTIC_BITS, "u": STATE_BITS, "v": STATE_BITS}

Growth = dict[str, dict[str, dict[str, int]]]


def measure_growth(executor: SpikingExecutor, samples: Samples) -> Growth:
    """Return the largest magnitude of each variable of each population of each function, over all steps and samples."""
    return {function: _largest(executor, function, inputs) for function, inputs in samples.inputs.items()}


def _largest(executor: SpikingExecutor, function: str, inputs: Mapping[str, np.ndarray]) -> dict[str, dict[str, int]]:
    network = executor.networks[function]
    simulator = open_simulator(network, len(next(iter(inputs.values()))), "fast")
    found = {population.name: dict.fromkeys(WIDTHS, 0) for population in network.populations}
    values = executor.give(function, dict(inputs))
    for _ in range(network.steps):
        simulator.step(values)
        values = {}
        for name, largest in found.items():
            for variable in WIDTHS:
                largest[variable] = max(largest[variable], int(np.abs(simulator.read(f"{name}/{variable}")).max()))
    return found


def check_growth(growth: Growth) -> None:
    """Check that every variable may grow by `MARGIN`.

    Raises:
        NmbrlError: naming population, variable, actual and maximum, of the one that has the least room.
    """
    rows = [
        (largest / ((1 << (WIDTHS[variable] - 1)) - 1), function, population, variable, largest)
        for function, populations in growth.items()
        for population, variables in populations.items()
        for variable, largest in variables.items()
    ]
    share, function, population, variable, largest = max(rows)
    if share * MARGIN > 1:
        bits = WIDTHS[variable]
        raise NmbrlError(
            f"Loihi: {variable} of population {population} of {function} reaches {largest:,} in calibration; {bits}"
            f" bits and a margin of {MARGIN:g} allow {int(((1 << (bits - 1)) - 1) / MARGIN):,}; train with another --seed"
        )
