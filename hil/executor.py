"""A board at the end of a link as one more executor of the model's functions."""

import struct

import numpy as np

from nmbrl.hil.client import Client
from nmbrl.hil.messages import Kind
from nmbrl.targets.bundle import Bundle
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.integers import Int8, dequantise, quantise
from nmbrl.targets.interface import Array, Executor

# As controller.c numbers them.
FUNCTIONS = ("observe", "imagine", "act", "value")
_TICKS = struct.Struct("<I")
# Rows are counted in a byte.
MOST_ROWS = 255


class BoardExecutor(Executor):
    """Evaluates the core functions on a board, on the integers that it computes with.

    Args:
        bundle: what the firmware was built from.
        client: to the board.

    Attributes:
        ticks: of the board's counter, spent in each function.
        rows: rows that each function was evaluated on.

    Raises:
        NmbrlError: if the board holds another model.
    """

    def __init__(self, bundle: Bundle, client: Client) -> None:
        identity = client.connect()
        super().__init__(f"{bundle.target} on {identity.name}", bundle.interface, bundle.measured["macs"])
        if identity.model is None or identity.model.state_size != bundle.interface.state_size:
            raise NmbrlError(f"the firmware on {identity.name} was built from another bundle: flash it again")
        self.client = client
        self.ticks = dict.fromkeys(FUNCTIONS, 0)
        self.rows = dict.fromkeys(FUNCTIONS, 0)
        self._max_body = identity.max_body
        self._functions = bundle.functions
        self._segments = [segment.name for segment in bundle.interface.state]
        self._given = {tensor.name: tensor for f in bundle.functions.values() for tensor in f.inputs}
        for output, source in (pair for passed in bundle.interface.aliases.values() for pair in passed.items()):
            for name, other in ((output, source), (source, output)):
                if other in self._given:
                    self._given.setdefault(name, self._given[other])

    def call(self, function: str, inputs: dict[str, Array]) -> dict[str, Array]:
        """See `Executor.call`."""
        outputs = self.call_integers(
            function, {name: quantise(array, self._given[name]) for name, array in inputs.items()}
        )
        return {t.name: dequantise(outputs[t.name], t) for t in self._functions[function].outputs}

    def call_integers(self, function: str, inputs: dict[str, Int8]) -> dict[str, Int8]:
        """Evaluate one core function on integers (batch, size), by name."""
        names = [*self._segments, *(name for name in ("a", "o") if name in inputs)]
        arrays = [np.concatenate([inputs[name] for name in self._segments], axis=1)]
        arrays += [inputs[name] for name in names[len(self._segments) :]]
        outputs = self._output_sizes(function)
        widest = max(sum(array.shape[1] for array in arrays), sum(outputs.values()))
        rows = min(MOST_ROWS, (self._max_body - _TICKS.size) // widest)
        parts = [
            self._call_rows(function, [array[first : first + rows] for array in arrays], outputs)
            for first in range(0, len(arrays[0]), rows)
        ]
        made = {name: np.concatenate([part[name] for part in parts]) for name in outputs}
        if "next" in made:
            made |= self.interface.split(made.pop("next"))  # type: ignore[arg-type]
        return made

    def _output_sizes(self, function: str) -> dict[str, int]:
        interface = self.interface
        return {
            "observe": {"next": interface.state_size},
            "imagine": {"next": interface.state_size, "r": 1, **({"c": 1} if interface.terminates else {})},
            "act": {"a": interface.task.action_size},
            "value": {"v": 1},
        }[function]

    def _call_rows(self, function: str, arrays: list[Int8], outputs: dict[str, int]) -> dict[str, Int8]:
        count = len(arrays[0])
        body = bytes([FUNCTIONS.index(function), count]) + b"".join(array.tobytes() for array in arrays)
        reply = self.client.request(Kind.CALL, body)
        self.ticks[function] += _TICKS.unpack_from(reply)[0]
        self.rows[function] += count
        made = {}
        position = _TICKS.size
        for name, size in outputs.items():
            made[name] = np.frombuffer(reply, np.int8, count * size, position).reshape(count, size)
            position += count * size
        return made

    def close(self) -> None:
        """See `Executor.close`."""
        self.client.link.close()
