"""Loihi: networks of graded or binary spikes in fixed point, the simulator that users run, and Lava to check it on."""

from pathlib import Path

from nmbrl.targets.bundle import Bundle
from nmbrl.targets.interface import Executor


def open_executor(path: Path, bundle: Bundle, simulator: str = "fast") -> Executor:
    """Open a Loihi bundle that was read and verified.

    Args:
        path: directory of the bundle.
        bundle: its manifest.
        simulator: ``fast`` (the integers that Lava computes), ``strict`` (the chip's widths enforced as well),
            ``numpy`` (``fast`` as it is defined, without compiled code) or ``lava`` (Lava runs beside the first lane of
            a batch, and every message of every population is compared).

    Raises:
        NmbrlError: if a network is damaged, the simulator is unknown, or Lava is asked for and not installed.
    """
    from nmbrl.targets.loihi.executor import LoihiExecutor
    from nmbrl.targets.loihi.host import FILE, read_host
    from nmbrl.targets.loihi.placement import read_placement
    from nmbrl.targets.loihi.spiking_executor import SpikingExecutor
    from nmbrl.targets.loihi.storage import read_network

    networks = {name: read_network(path / function.file) for name, function in bundle.functions.items()}
    placement = read_placement(bundle.details.get("placement"), networks)
    arguments = bundle.interface, bundle.measured["macs"], bundle.functions, networks, simulator, placement
    if FILE in bundle.files:
        return SpikingExecutor(*arguments, host=read_host(path / FILE))
    return LoihiExecutor(*arguments)
