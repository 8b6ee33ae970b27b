"""Files of named tensors (safetensors) that know their own SHA-256."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from nmbrl.targets.errors import NmbrlError

# One key only: safetensors writes several in no fixed order, and the same training shall give the same bytes.
METADATA = "nmbrl"


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the hexadecimal SHA-256 of names, types, shapes and values, whatever their order."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name].detach().contiguous().numpy()
        total.update(f"{name}:{array.dtype.str}:{array.shape}:".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def from_bytes(content: bytes) -> Tensor:
    """Return bytes as a tensor, to be kept in a file among others."""
    return torch.from_numpy(np.frombuffer(content, np.uint8).copy())


def to_bytes(tensor: Tensor) -> bytes:
    """Return the bytes that `from_bytes` was given."""
    return tensor.numpy().tobytes()


def pack(tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> bytes:
    """Return a file's bytes: tensors and a record (JSON), with the SHA-256 of either."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(record, sort_keys=True)
    hashes = {"tensors": digest(contiguous), "record": hashlib.sha256(text.encode()).hexdigest()}
    return save(contiguous, metadata={METADATA: json.dumps({"record": text, "sha256": hashes}, sort_keys=True)})


def unpack(content: bytes, source: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what `pack` was given.

    Args:
        content: the file's bytes.
        source: its name, for the error.

    Raises:
        NmbrlError: if it is damaged or something else.
    """
    try:
        header_size = int.from_bytes(content[:8], "little")
        metadata = json.loads(json.loads(content[8 : 8 + header_size])["__metadata__"][METADATA])
        text, hashes = metadata["record"], metadata["sha256"]
        tensors = load(content)
        intact = hashes["tensors"] == digest(tensors)
        intact = intact and hashes["record"] == hashlib.sha256(text.encode()).hexdigest()
        record = json.loads(text)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NmbrlError(f"{source} is damaged or was not written by nmbrl-train") from error
    if not intact:
        raise NmbrlError(f"{source} is damaged: its SHA-256 is not the recorded one")
    return tensors, record
