"""NIR, the Neuromorphic Intermediate Representation: spiking students to ``.nir`` files, and such files to Loihi."""

import io
from pathlib import Path

import nir
import numpy as np

from nmbrl.convert.loihi.nir.exporting import export_function, export_network
from nmbrl.convert.loihi.nir.graph import DT, discretise, read_graph
from nmbrl.convert.loihi.nir.importing import quantise
from nmbrl.convert.loihi.nir.report import Report, describe
from nmbrl.convert.loihi.nir.running import agreement
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.files import write_bytes
from nmbrl.targets.load import load
from nmbrl.targets.loihi.chips import find_chip
from nmbrl.targets.loihi.executor import LoihiExecutor
from nmbrl.targets.loihi.host import encode_host
from nmbrl.targets.loihi.placement import place
from nmbrl.targets.loihi.spiking_executor import SpikingExecutor
from nmbrl.targets.loihi.storage import encode_network

# What an imported network is compared with its graph on: steps, lanes, the share of steps with a spike (or how far
# currents vary), and the seed.
STEPS, LANES, ACTIVITY, SEED = 500, 4, 0.2, 0


def export_bundle(bundle: Path, out: Path) -> dict[str, Path]:
    """Write each function of a spiking student as a ``.nir`` file.

    Args:
        bundle: directory of a Loihi bundle of the method ``lif``.
        out: directory of the files.

    Returns:
        The file of each function.

    Raises:
        NmbrlError: if the bundle is for another target, or has what NIR cannot express.
    """
    executor = load(bundle)
    if not isinstance(executor, LoihiExecutor):
        raise NmbrlError(
            f"{bundle} is for {executor.target}; only spiking students (--target loihi --method lif) spike"
        )
    graphs = {}
    for function, network in executor.networks.items():
        if isinstance(executor, SpikingExecutor):
            sizes = {tensor.name: tensor.size for tensor in executor.functions[function].inputs}
            graphs[function] = export_function(network, executor.host, sizes)
        else:
            graphs[function] = export_network(network)
    for function, graph in graphs.items():
        write_graph(graph, out / f"{function}.nir")
    return {function: out / f"{function}.nir" for function in graphs}


def write_graph(graph: nir.NIRGraph, path: Path) -> None:
    """Write a graph atomically."""
    stream = io.BytesIO()
    nir.write(stream, graph)
    write_bytes(path, stream.getvalue())


def import_file(
    path: Path,
    out: Path,
    inputs: str = "spikes",
    dt: float = DT,
    weight_bits: int = 8,
    steps: int | None = None,
    chip: str = "loihi2",
) -> Report:
    """Write a NIR graph as a Loihi network: ``<stem>.json`` and ``.npz``, ``host.json`` and ``host.npz``.

    `nmbrl.targets.loihi.storage.read_network` reads it, and `nmbrl.targets.loihi.executor.open_simulator` runs it.

    Args:
        path: the ``.nir`` file.
        out: directory of the files.
        inputs: see `nmbrl.convert.loihi.nir.importing.quantise`.
        dt: seconds a step.
        weight_bits: see `quantise`.
        steps: see `quantise`; None for what the file says, else 1.
        chip: key of the chip to place it on.

    Raises:
        NmbrlError: if the file, an option or the graph is not what can be imported, or the network does not fit.
    """
    found = find_chip(chip)
    if weight_bits > found.weight_bits:
        raise NmbrlError(f"--weight-bits is {weight_bits}; {found.name} has {found.weight_bits}")
    graph = read_graph(path)
    said = np.asarray((graph.metadata or {}).get("steps", 1)).ravel()
    imported = quantise(discretise(graph, dt), inputs, weight_bits, int(said[0]) if steps is None else steps)
    placement = place({path.stem: imported.network}, found)
    random = np.random.default_rng(SEED)
    shapes = {name: (STEPS, LANES, size) for name, size in imported.graph.inputs.items()}
    if inputs == "spikes":
        drawn = {name: (random.random(shape) < ACTIVITY).astype(np.float64) for name, shape in shapes.items()}
    else:
        drawn = {name: random.normal(0, ACTIVITY, shape) for name, shape in shapes.items()}
    files = encode_network(imported.network, path.stem) | encode_host(imported.host)
    for name, content in files.items():
        write_bytes(out / name, content)
    return Report(imported, placement, agreement(imported, drawn))


__all__ = ["Report", "describe", "export_bundle", "import_file", "write_graph"]
