"""How far the numbers of a spiking network grow on calibration data, and whether the chip's widths leave room."""

from collections.abc import Collection, Mapping

import numpy as np

from nmbrl.convert.calibration import Samples
from nmbrl.convert.loihi.lif.arithmetic import EXACT
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.executor import open_simulator
from nmbrl.targets.loihi.limits import STATE_BITS, SYNAPTIC_BITS, representable
from nmbrl.targets.loihi.spiking_executor import SpikingExecutor

# Numbers may grow to this multiple of the largest seen in calibration.
MARGIN = 2.0
# What a variable may reach: its width on the chip, and in hidden neurons what training computes exactly. What arrives
# in the next step is what synapses delivered in this.
LIMITS = {"arriving": representable(SYNAPTIC_BITS)[1], "u": EXACT, "v": EXACT}
READOUT_LIMITS = {**LIMITS, "u": representable(STATE_BITS)[1], "v": representable(STATE_BITS)[1]}

Growth = dict[str, dict[str, dict[str, int]]]


def measure_growth(executor: SpikingExecutor, samples: Samples) -> Growth:
    """Return the largest magnitude of each variable of each population of each function, over all steps and samples."""
    return {function: _largest(executor, function, inputs) for function, inputs in samples.inputs.items()}


def _largest(executor: SpikingExecutor, function: str, inputs: Mapping[str, np.ndarray]) -> dict[str, dict[str, int]]:
    network = executor.networks[function]
    simulator = open_simulator(network, len(next(iter(inputs.values()))), "fast")
    found = {population.name: dict.fromkeys(LIMITS, 0) for population in network.populations}
    values = executor.give(function, dict(inputs))
    for _ in range(network.steps):
        simulator.step(values)
        values = {}
        for name, largest in found.items():
            for variable in LIMITS:
                largest[variable] = max(largest[variable], int(np.abs(simulator.read(f"{name}/{variable}")).max()))
    return found


def check_growth(growth: Growth, readouts: Collection[str]) -> None:
    """Check that every variable may grow by `MARGIN`.

    Args:
        growth: what was measured.
        readouts: populations that never spike.

    Raises:
        NmbrlError: naming population, variable, actual and maximum, of the one that has the least room.
    """
    rows = []
    for function, populations in growth.items():
        for population, variables in populations.items():
            limits = READOUT_LIMITS if population in readouts else LIMITS
            where = [f"{variable} of population {population} of {function}" for variable in variables]
            rows += [
                (largest / limits[variable], name, largest, limits[variable])
                for name, (variable, largest) in zip(where, variables.items(), strict=True)
            ]
    share, name, largest, limit = max(rows)
    if share * MARGIN > 1:
        raise NmbrlError(
            f"Loihi: {name} reaches {largest:,} in calibration; with a margin of {MARGIN:g} it may reach"
            f" {int(limit / MARGIN):,}; train with another --seed"
        )
