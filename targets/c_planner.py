"""The planners of a C bundle, called in its shared library: what runs on the device runs here."""

import ctypes
from pathlib import Path
from typing import Any

import numpy as np

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.integers import Int8
from nmbrl.targets.interface import Array

METHODS = {"policy": 0, "shooting": 1, "cem": 2, "mppi": 3}
STATUS = {1: "there is no such method", 2: "an option is out of range", 3: "it is larger than its memory"}


class Options(ctypes.Structure):
    """``nmbrl_options`` of nmbrl.h; `nmbrl.runtime.planners.PlannerOptions` documents each field."""

    _fields_ = [
        ("samples", ctypes.c_uint16),
        ("horizon", ctypes.c_uint16),
        ("iterations", ctypes.c_uint16),
        ("elites", ctypes.c_uint16),
        ("policy_samples", ctypes.c_uint16),
        ("temperature", ctypes.c_float),
        ("std_start", ctypes.c_float),
        ("std_floor", ctypes.c_float),
        ("correlation", ctypes.c_float),
        ("margin", ctypes.c_float),
    ]


def memory_flags(options: dict[str, Any]) -> tuple[str, ...]:
    """Return the compiler flags that plan a planner's memory for these options."""
    sizes = {"SAMPLES": options["samples"], "HORIZON": options["horizon"], "ELITES": options["elites"]}
    return tuple(f"-DNMBRL_MAX_{name}={size}" for name, size in sizes.items())


def model_calls(method: str, options: dict[str, Any], warm: bool = True) -> dict[str, int]:
    """Return how often a decision calls each function of the model for one sample.

    Args:
        method: name in `METHODS`.
        options: fields of `Options`.
        warm: whether a plan of the decision before is shifted, which is not so in an episode's first decision.
    """
    if method == "policy":
        return {"act": 1}
    rollouts, horizon = options["samples"], options["horizon"]
    if method == "shooting":
        return {"imagine": rollouts * horizon, "value": rollouts}
    # The plan in the middle is imagined at the end. The place of the shifted plan, whose last decision is the policy's,
    # stays empty in the first decision.
    rollouts = rollouts * options["iterations"] + 1 - (not warm)
    return {"imagine": rollouts * horizon, "act": options["policy_samples"] * horizon + warm, "value": rollouts}


class CPlanner:
    """One ``nmbrl_planner`` and its memory.

    Args:
        library: the shared library, compiled with `memory_flags` of the options.
        method: name in `METHODS`.
        options: fields of `Options`.
        state_size: elements of a state.
        action_size: elements of an action.

    Attributes:
        size: bytes of its memory.

    Raises:
        NmbrlError: if the library refuses method or options.
    """

    def __init__(self, library: Path, method: str, options: dict[str, Any], state_size: int, action_size: int) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.nmbrl_planner_bytes.restype = ctypes.c_size_t
        self._library.nmbrl_belief.restype = ctypes.POINTER(ctypes.c_int8)
        self.size = self._library.nmbrl_planner_bytes()
        self._memory = ctypes.create_string_buffer(self.size)
        self._state_size = state_size
        self._action = np.zeros(action_size, np.float32)
        given = Options(**{name: options[name] for name, *_ in Options._fields_})
        status = self._library.nmbrl_configure(self._memory, METHODS[method], ctypes.byref(given))
        if status:
            raise NmbrlError(f"the C planner refuses {method}: {STATUS[status]}")

    def reset(self, seed: int) -> None:
        """Begin an episode."""
        self._library.nmbrl_reset(self._memory, ctypes.c_uint64(seed))

    @property
    def belief(self) -> Int8:
        """The belief state, a view that may be written."""
        return np.ctypeslib.as_array(self._library.nmbrl_belief(self._memory), (self._state_size,))

    def update(self, action: Array, observation: Array) -> None:
        """Fold a raw observation into the belief."""
        arrays = [np.ascontiguousarray(array, np.float32) for array in (action, observation)]
        self._library.nmbrl_update(self._memory, *(ctypes.c_void_p(array.ctypes.data) for array in arrays))

    def plan(self) -> Array:
        """Return the action (action_size,) for the belief."""
        self._library.nmbrl_plan(self._memory, ctypes.c_void_p(self._action.ctypes.data))
        return self._action.copy()
