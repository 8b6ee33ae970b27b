"""Running a C bundle on this machine, as a shared library built from the bundle's own sources."""

import ctypes
from pathlib import Path
from typing import Any

import numpy as np

from nmbrl.targets.bundle import Bundle, Function
from nmbrl.targets.c_planner import CPlanner, memory_flags
from nmbrl.targets.compiler import build_library
from nmbrl.targets.integers import Int8, dequantise, quantise
from nmbrl.targets.interface import Array, Executor, Interface

# Arguments of the entry points in nmbrl.h, in order: the flat states are called state and next.
ARGUMENTS = {
    "observe": (("state", "a", "o"), ("next",)),
    "imagine": (("state", "a"), ("next", "r", "c")),
    "act": (("state",), ("a",)),
    "value": (("state",), ("v",)),
    "decode": (("state",), ("o",)),
}


class CLibrary:
    """The generated entry points on int8 rows.

    Args:
        path: the shared library.
        interface: shapes of the model.
    """

    def __init__(self, path: Path, interface: Interface) -> None:
        self.library = ctypes.CDLL(str(path))
        task = interface.task
        self._sizes = {"state": interface.state_size, "next": interface.state_size, "a": task.action_size,
                       "o": task.observation_size, "r": 1, "c": 1, "v": 1}  # fmt: skip

    def call(self, function: str, arrays: dict[str, Int8]) -> dict[str, Int8]:
        """Evaluate a function on arrays (batch, size), ``state`` being the flat state; likewise its outputs."""
        inputs, outputs = ARGUMENTS[function]
        batch = len(arrays["state"])
        given = [np.ascontiguousarray(arrays[name]) for name in inputs]
        made = {name: np.empty((batch, self._sizes[name]), np.int8) for name in outputs}
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (*given, *made.values())]
        getattr(self.library, f"nmbrl_{function}")(*pointers, ctypes.c_size_t(batch))
        return made


class CExecutor(Executor):
    """Evaluates the core functions in C; real values are quantised on the way in and back on the way out.

    Args:
        interface: shapes and constants of the model.
        macs: multiply-accumulates of one call of each function for one sample.
        functions: tensors of each function.
        sources: content of every source file, by name.

    Raises:
        NmbrlError: if the sources cannot be compiled.
    """

    def __init__(
        self, interface: Interface, macs: dict[str, int], functions: dict[str, Function], sources: dict[str, str]
    ) -> None:
        super().__init__("c", interface, macs)
        self.sources = sources
        self.library = CLibrary(build_library(sources), interface)
        self._functions = functions
        self._given = {tensor.name: tensor for function in functions.values() for tensor in function.inputs}
        for output, source in (pair for passed in interface.aliases.values() for pair in passed.items()):
            for name, other in ((output, source), (source, output)):
                if other in self._given:
                    self._given.setdefault(name, self._given[other])

    def call(self, function: str, inputs: dict[str, Array]) -> dict[str, Array]:
        """Evaluate one core function; see `Executor.call`."""
        given = {name: quantise(array, self._given[name]) for name, array in inputs.items()}
        outputs = self.call_integers(function, given)
        return {t.name: dequantise(outputs[t.name], t) for t in self._functions[function].outputs}

    def call_integers(self, function: str, inputs: dict[str, Int8]) -> dict[str, Int8]:
        """Evaluate one core function on integers, by name; arrays (batch, size)."""
        segments = [segment.name for segment in self.interface.state]
        state = np.concatenate([inputs[name] for name in segments], axis=1)
        rest = {name: array for name, array in inputs.items() if name not in segments}
        made = self.library.call(function, {"state": state, **rest})
        if "next" in made:
            made |= self.interface.split(made.pop("next"))  # type: ignore[arg-type,operator]
        return made

    def quantise_state(self, state: Array) -> Int8:
        """Return flat states (batch, state_size) as the integers they stand for."""
        segments = self.interface.split(state)
        return np.concatenate([quantise(segments[s.name], self._given[s.name]) for s in self.interface.state], axis=1)

    def open_planner(self, method: str, options: dict[str, Any]) -> CPlanner:
        """Return a planner that runs in C, with memory of its own.

        Args:
            method: ``policy``, ``shooting``, ``cem`` or ``mppi``.
            options: fields of `nmbrl.targets.c_planner.Options`.

        Raises:
            NmbrlError: if an option is out of range.
        """
        library = build_library(self.sources, memory_flags(options))
        return CPlanner(library, method, options, self.interface.state_size, self.interface.task.action_size)


def open_executor(path: Path, bundle: Bundle) -> CExecutor:
    """Build and open a C bundle that was read and verified: its code runs in this process.

    Raises:
        NmbrlError: if it cannot be compiled.
    """
    sources = {Path(name).name: (path / name).read_text() for name in bundle.files if name.endswith((".c", ".h"))}
    return CExecutor(bundle.interface, bundle.measured["macs"], dict(bundle.functions), sources)
