"""What the host does at the edge of a spiking network: numbers to bias currents, potentials to numbers.

A population that takes inputs gets, for each decision, one bias mantissa a neuron: ``clip((weights @ numbers) >>
shift)`` of the inputs in whole steps. A population that gives an output never spikes; its potential is the output in
steps of ``2^-exponent``. It begins at 0, or with the input of the same name if that is what changes. Populations whose
potentials go on from one decision to the next are segments ``<population>_u`` and ``<population>_v`` of the state.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Array
from nmbrl.targets.loihi.limits import Integers

FILE = "host.json"


@dataclass(frozen=True, eq=False)
class Encoder:
    """How a population's bias mantissas follow from inputs.

    Attributes:
        tensors: names of the inputs, one after the other.
        weights: (size, numbers), int32.
        exponent: inputs are whole numbers of steps of ``2^-exponent``.
        largest: steps at which they saturate.
        shift: bits that products lose.
        limit: largest magnitude of a mantissa.
    """

    tensors: tuple[str, ...]
    weights: Integers
    exponent: int
    largest: int
    shift: int
    limit: int

    def encode(self, inputs: dict[str, Array]) -> Integers:
        """Return the mantissas (batch, size) for inputs by name."""
        numbers = np.concatenate([inputs[name] for name in self.tensors], axis=1).astype(np.float64)
        whole = np.clip(np.rint(numbers * 2.0**self.exponent), -self.largest, self.largest)
        # Exact in float64: products are of far less than 53 bits.
        given = np.floor(whole @ self.weights.T * 2.0**-self.shift)
        return np.clip(given, -self.limit, self.limit).astype(np.int32)


@dataclass(frozen=True, eq=False)
class Host:
    """The edge of all functions of a model; what a function's network lacks does not concern it.

    Attributes:
        encoders: by population.
        readouts: exponent of each neuron (size,), by population, which is also the name of the output.
        changes: readouts that begin with the input of their name, and the magnitude at which that saturates.
        carried: populations whose potentials are part of the state.
    """

    encoders: dict[str, Encoder]
    readouts: dict[str, Integers]
    changes: dict[str, float]
    carried: tuple[str, ...]


def encode_host(host: Host) -> dict[str, bytes]:
    """Return the files that hold a host's part, by name; equal ones give equal bytes."""
    structure = {
        "encoders": {
            name: {
                "tensors": list(encoder.tensors),
                "exponent": encoder.exponent,
                "largest": encoder.largest,
                "shift": encoder.shift,
                "limit": encoder.limit,
            }
            for name, encoder in host.encoders.items()
        },
        "readouts": {name: exponents.tolist() for name, exponents in host.readouts.items()},
        "changes": host.changes,
        "carried": list(host.carried),
    }
    stream = io.BytesIO()
    np.savez(stream, **{name: encoder.weights for name, encoder in host.encoders.items()})  # type: ignore[arg-type]
    text = json.dumps(structure, indent=1) + "\n"
    return {FILE: text.encode(), str(Path(FILE).with_suffix(".npz")): stream.getvalue()}


def read_host(path: Path) -> Host:
    """Read a host's part from its JSON file and the npz file beside it.

    Raises:
        NmbrlError: if a file is missing or damaged.
    """
    try:
        structure = json.loads(path.read_text())
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as archive:
            encoders = {
                name: Encoder(weights=archive[name].astype(np.int32), tensors=tuple(fields.pop("tensors")), **fields)
                for name, fields in structure["encoders"].items()
            }
        readouts = {name: np.array(exponents, np.int32) for name, exponents in structure["readouts"].items()}
        return Host(encoders, readouts, dict(structure["changes"]), tuple(structure["carried"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NmbrlError(f"{path} is damaged ({type(error).__name__}: {error}); convert again") from error
