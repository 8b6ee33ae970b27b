"""How far the numbers of sigma-delta networks grow on calibration data, and whether the chip's widths leave room."""

from collections.abc import Mapping

import numpy as np

from nmbrl.convert.loihi.scales import MARGIN
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.executor import LoihiExecutor
from nmbrl.targets.loihi.limits import representable
from nmbrl.targets.loihi.network import Network
from nmbrl.targets.loihi.simulator import Simulator

# Widths are chosen for real numbers; rounding of messages and weights makes the whole ones that much larger.
ROUNDING, ROUNDING_STEPS = 1.01, 2

Growth = dict[str, dict[str, dict[str, int]]]


def measure_growth(executor: LoihiExecutor, samples: Mapping[str, dict[str, np.ndarray]]) -> Growth:
    """Return the largest magnitude of each number that has a width: by function, population, and name of the width.

    Args:
        executor: of the networks.
        samples: inputs (samples, size) of each function, by name; each begins with the network at rest.
    """
    return {function: _largest(executor, function, inputs) for function, inputs in samples.items()}


def _largest(executor: LoihiExecutor, function: str, inputs: dict[str, np.ndarray]) -> dict[str, dict[str, int]]:
    network = executor.networks[function]
    found = {part.name: dict.fromkeys(part.widths, 0) for part in network.populations}

    def watch(population: str, name: str, values: np.ndarray) -> None:
        found[population][name] = max(found[population][name], int(np.abs(values).max()))

    simulator = Simulator(network, len(next(iter(inputs.values()))))
    simulator.watch = watch
    simulator.run(executor.give(function, inputs))
    return found


def check_growth(growth: Growth, networks: Mapping[str, Network]) -> None:
    """Check that every number may grow by `MARGIN` before it exceeds its width.

    Raises:
        NmbrlError: naming number, population, actual and maximum, of the one that has the least room.
    """
    rows = []
    for function, populations in growth.items():
        for name, numbers in populations.items():
            widths = networks[function].by_name[name].widths
            for number, largest in numbers.items():
                room = representable(widths[number])[1] / MARGIN * ROUNDING + ROUNDING_STEPS
                rows.append((largest / room, f"{number} of population {name} of {function}", largest, room))
    share, where, largest, room = max(rows)
    if share > 1:
        raise NmbrlError(
            f"Loihi: {where} reaches {largest:,} in calibration; with a margin of {MARGIN:g} it may reach"
            f" {int(room):,}; convert with fewer message bits"
        )
