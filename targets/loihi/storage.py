"""A Loihi network on disk: ``<name>.json`` for the structure, ``<name>.npz`` beside it for the vectors and matrices."""

import dataclasses
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.loihi.network import KINDS, Network, Population, Synapses


def encode_network(network: Network, name: str) -> dict[str, bytes]:
    """Return the files that hold a network, by file name; equal networks give equal bytes."""
    arrays: dict[str, np.ndarray] = {}
    populations, synapses = [], []
    for population in network.populations:
        populations.append({"kind": population.kind, **_scalars(population, population.arrays)})
        arrays |= {f"{population.name}/{field}": getattr(population, field) for field in population.arrays}
    for index, connection in enumerate(network.synapses):
        synapses.append(_scalars(connection, ("weights",)))
        # A weight fits 9 bits and a sign: half the bytes of an int32.
        arrays[f"synapses/{index}"] = connection.weights.astype(np.int16)
    structure = {
        "populations": populations,
        "synapses": synapses,
        "inputs": network.inputs,
        "outputs": network.outputs,
        "steps": network.steps,
    }
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return {f"{name}.json": (json.dumps(structure, indent=1) + "\n").encode(), f"{name}.npz": stream.getvalue()}


def read_network(path: Path) -> Network:
    """Read a network from its JSON file and the npz file beside it.

    Raises:
        NmbrlError: if a file is missing or damaged, or what it describes is no network.
    """
    try:
        structure = json.loads(path.read_text())
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as archive:
            arrays = {name: archive[name].astype(np.int32) for name in archive.files}
        return _decode(structure, arrays)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise NmbrlError(f"{path} holds no Loihi network ({type(error).__name__}: {error}); convert again") from error


def _decode(structure: dict[str, Any], arrays: dict[str, np.ndarray]) -> Network:
    populations: list[Population] = []
    for fields in structure["populations"]:
        kind = KINDS[fields["kind"]]
        values: dict[str, Any] = {name: value for name, value in fields.items() if name != "kind"}
        values |= {name: arrays[f"{fields['name']}/{name}"] for name in kind.arrays}
        populations.append(kind(**values))
    synapses = (
        Synapses(**fields, weights=arrays[f"synapses/{index}"]) for index, fields in enumerate(structure["synapses"])
    )
    return Network(
        populations=tuple(populations),
        synapses=tuple(synapses),
        inputs=dict(structure["inputs"]),
        outputs=dict(structure["outputs"]),
        steps=structure["steps"],
    )


def _scalars(part: Population | Synapses, arrays: tuple[str, ...]) -> dict[str, Any]:
    return {
        field.name: getattr(part, field.name)
        for field in dataclasses.fields(part)  # type: ignore[arg-type]
        if field.name not in arrays
    }
