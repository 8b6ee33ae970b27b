"""Imports Lava on Python 3.11; import this module before anything of Lava.

lava-nc 0.10 uses a dataclass with a mutable default (``ByteEncoder`` in ``lava/magma/compiler/var_model.py``), which
Python 3.11 refuses unless its class has a hash. Giving it one while that module is imported changes nothing else.
"""

import dataclasses
from typing import Any

_dataclass: Any = dataclasses.dataclass


def _hashable(cls: Any = None, **options: Any) -> Any:
    if cls is not None and cls.__module__ == "lava.magma.compiler.var_model":
        return _dataclass(cls, unsafe_hash=True)
    return _dataclass(cls, **options)


dataclasses.dataclass = _hashable
try:
    import lava.magma.compiler.var_model  # noqa: F401
finally:
    dataclasses.dataclass = _dataclass
