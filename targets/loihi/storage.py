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
        weights = connection.weights.astype(np.int16)
        if connection.sparse:
            places = np.flatnonzero(weights)
            arrays[f"synapses/{index}/places"] = places.astype(np.int32)
            weights = weights.ravel()[places]
        arrays[f"synapses/{index}"] = weights
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
        own = f"{fields['name']}/"
        values |= {name.removeprefix(own): array for name, array in arrays.items() if name.startswith(own)}
        populations.append(kind(**values))
    sizes = {population.name: population.size for population in populations}
    synapses = []
    for index, fields in enumerate(structure["synapses"]):
        weights = arrays[f"synapses/{index}"]
        if fields.get("sparse"):
            weights = _scatter(
                weights, arrays[f"synapses/{index}/places"], sizes[fields["target"]], sizes[fields["source"]]
            )
        synapses.append(Synapses(**fields, weights=weights))
    return Network(
        populations=tuple(populations),
        synapses=tuple(synapses),
        inputs=dict(structure["inputs"]),
        outputs=dict(structure["outputs"]),
        steps=structure["steps"],
    )


def _scatter(weights: np.ndarray, places: np.ndarray, targets: int, sources: int) -> np.ndarray:
    """Return the matrix that holds weights at places of its flat form."""
    matrix = np.zeros(targets * sources, np.int32)
    matrix[places] = weights
    return matrix.reshape(targets, sources)


def _scalars(part: Population | Synapses, arrays: tuple[str, ...]) -> dict[str, Any]:
    return {
        field.name: getattr(part, field.name)
        for field in dataclasses.fields(part)  # type: ignore[arg-type]
        if field.name not in arrays
    }
