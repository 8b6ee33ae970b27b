"""The functions of an interface as C: ``model.h`` and ``model.c`` with the entry points of ``nmbrl.h``."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from nmbrl.convert.c.functions import Printer, float_array, float_literal, scratch_definition
from nmbrl.convert.c.lower import lower
from nmbrl.convert.c.model import read_graph
from nmbrl.convert.c.steps import Lowered
from nmbrl.targets.bundle import Function, Tensor
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Interface

# Rows that the scratch memory is planned for: a multiple of the tiles of 4 rollouts of the kernels.
MAX_BATCH = 32
# Parameters of the entry points in nmbrl.h beside the state, and where the function's outputs go.
OUTPUTS = {"observe": {}, "imagine": {"r": "reward", "c": "alive"}, "act": {"a": "action"}, "value": {"v": "value"},
           "decode": {"o": "observation"}}  # fmt: skip
INPUTS = {"a": ("action", "NMBRL_ACTION_SIZE"), "o": ("observation", "NMBRL_OBSERVATION_SIZE")}


@dataclass(frozen=True)
class Sources:
    """What is generated for a model.

    Attributes:
        header: ``model.h``.
        source: ``model.c``.
        lowered: the functions as kernel calls, by name.
        printer: sizes of constants and scratch memory.
    """

    header: str
    source: str
    lowered: dict[str, Lowered]
    printer: Printer


def print_sources(interface: Interface, models: Mapping[str, bytes], records: Mapping[str, Function]) -> Sources:
    """Lower and print every function of an int8 TFLite bundle.

    Args:
        interface: shapes of the functions.
        models: the .tflite file of each function.
        records: names of their inputs and outputs, in order, with scale and zero point.

    Raises:
        NmbrlError: if a function has what the C runtime does not have.
    """
    printer = Printer()
    lowered, definitions = {}, []
    for function, content in models.items():
        record = records[function]
        inputs, outputs = [tensor.name for tensor in record.inputs], [tensor.name for tensor in record.outputs]
        try:
            lowered[function] = lower(read_graph(content), function, inputs, outputs)
        except NmbrlError as error:
            raise NmbrlError(f"{function}: {error}") from error
        definitions += [*printer.function(lowered[function]), ""]
    digest = hashlib.sha256(b"".join(models[function] for function in sorted(models))).hexdigest()
    boundary = _Boundary(interface, records)
    source = [
        '#include "model.h"', "", '#include "nmbrl.h"', '#include "nmbrl_kernels.h"', "",
        *boundary.constants(), "", *printer.constants.lines(), "", *printer.layers(), "",
        scratch_definition(printer), "", *definitions, *boundary.entries(),
    ]  # fmt: skip
    return Sources(
        "\n".join(boundary.header(digest, printer)) + "\n", "\n".join(source).rstrip() + "\n", lowered, printer
    )


class _Boundary:
    """Prints what surrounds the functions."""

    def __init__(self, interface: Interface, records: Mapping[str, Function]) -> None:
        self.interface = interface
        self.records = records
        self.offsets = {}
        offset = 0
        for segment in interface.state:
            self.offsets[segment.name] = offset
            offset += segment.size

    def tensor(self, function: str, name: str, output: bool = False) -> Tensor:
        """Return an input or output of a function as it is quantised."""
        record = self.records[function]
        found = [tensor for tensor in (record.outputs if output else record.inputs) if tensor.name == name]
        if not found:
            raise NmbrlError(f"{function} has no {'output' if output else 'input'} {name}, which C code needs")
        return found[0]

    def quantity(self, name: str) -> Tensor:
        """Return a segment, the action or the observation as every function has it that takes it."""
        names = {name, *(i for passed in self.interface.aliases.values() for o, i in passed.items() if o == name)}
        names |= {o for passed in self.interface.aliases.values() for o, i in passed.items() if i in names}
        found = [t for record in self.records.values() for t in record.inputs if t.name in names]
        kinds = {(t.dtype, t.scale, t.zero_point) for t in found}
        if len(kinds) != 1 or found[0].dtype != "int8":
            raise NmbrlError(f"{name} needs one int8 scale and zero point in all functions, not {len(kinds)}")
        return found[0]

    def header(self, digest: str, printer: Printer) -> list[str]:
        """Return the lines of ``model.h``."""
        task, interface = self.interface.task, self.interface
        numbers = {
            "STATE_SIZE": interface.state_size,
            "OBSERVATION_SIZE": task.observation_size,
            "ACTION_SIZE": task.action_size,
            "DISCRETE": int(task.action_kind == "discrete"),
            "TERMINATES": int(interface.terminates),
            "DECODES": int("decode" in self.records),
            "DISCOUNT": float_literal(interface.discount),
            "CLIP": float_literal(interface.normalisation.clip),
            "MAX_BATCH": MAX_BATCH,
            "SCRATCH_BYTES": printer.scratch * MAX_BATCH,
        }
        quantised = {
            "OBSERVATION": self.quantity("o"),
            "ACTION": self.quantity("a"),
            "POLICY": self.tensor("act", "a", True),
            "REWARD": self.tensor("imagine", "r", True),
            "VALUE": self.tensor("value", "v", True),
        }
        if interface.terminates:
            quantised["ALIVE"] = self.tensor("imagine", "c", True)
        lines = [f"#define NMBRL_{name} {value}" for name, value in numbers.items()]
        for name, tensor in quantised.items():
            assert tensor.scale is not None
            lines.append(f"#define NMBRL_{name}_SCALE {float_literal(tensor.scale)}")
            lines.append(f"#define NMBRL_{name}_ZERO {tensor.zero_point}")
        return [
            f"/* A {interface.architecture} model for {task.env}, {interface.parameters} parameters; see nmbrl.h. */",
            "#ifndef NMBRL_MODEL_H", "#define NMBRL_MODEL_H", "", "#include <stdint.h>", "",
            *lines, f'#define NMBRL_MODEL_HASH "{digest}"', "",
            "extern const float nmbrl_mean[NMBRL_OBSERVATION_SIZE];",
            "extern const float nmbrl_deviation[NMBRL_OBSERVATION_SIZE];",
            "extern const int8_t nmbrl_zero_state[NMBRL_STATE_SIZE];",
            "", "#endif",
        ]  # fmt: skip

    def constants(self) -> list[str]:
        """Return what ``model.h`` declares."""
        normalisation = self.interface.normalisation
        zeros = [str(self.quantity(s.name).zero_point) for s in self.interface.state for _ in range(s.size)]
        return [
            *float_array("nmbrl_mean", normalisation.mean),
            *float_array("nmbrl_deviation", normalisation.std),
            f"const int8_t nmbrl_zero_state[NMBRL_STATE_SIZE] = {{{', '.join(zeros)}}};",
        ]

    def entries(self) -> list[str]:
        """Return the definitions of the entry points of ``nmbrl.h``."""
        lines: list[str] = []
        for function in ("observe", "imagine", "act", "value", "decode"):
            if function in self.records or function == "observe":
                lines += [*self._entry(function), ""]
        return [*lines, *self._entry("imagine", shared=True), ""]

    def _entry(self, function: str, shared: bool = False) -> list[str]:
        """Return the lines of one; shared: all rows begin from one state."""
        moving = function in ("observe", "imagine")
        inputs = [INPUTS[name][0] for name in ("a", "o") if name in self.interface.input_sizes(function)]
        written = [*(["next"] if moving else []), *OUTPUTS[function].values()]
        pointers = {} if shared else {"state": "NMBRL_STATE_SIZE"}
        pointers |= {INPUTS[name][0]: INPUTS[name][1] for name in INPUTS if INPUTS[name][0] in inputs}
        pointers |= {name: "NMBRL_STATE_SIZE" for name in ("next",) if moving}
        pointers |= {"reward": "1", "alive": "1"} if function == "imagine" else {}
        pointers |= {"act": {"action": "NMBRL_ACTION_SIZE"}, "value": {"value": "1"},
                     "decode": {"observation": "NMBRL_OBSERVATION_SIZE"}}.get(function, {})  # fmt: skip
        parameters = [
            "const int8_t *state",
            *(f"const int8_t *{n}" for n in inputs),
            *(f"int8_t *{n}" for n in written),
        ]
        stride = "0" if shared else "NMBRL_STATE_SIZE"
        calls = [*self._call(function, stride), *self._aliases(function, stride)]
        name = f"{function}_from" if shared else function
        lines = [f"void nmbrl_{name}({', '.join(parameters)}, size_t n) {{"]
        if function == "imagine" and not self.interface.terminates:
            lines.append("    (void)alive;")
            del pointers["alive"]
        return [
            *lines,
            "    while (n > 0) {",
            "        const size_t rows = n < NMBRL_MAX_BATCH ? n : NMBRL_MAX_BATCH;",
            *(f"        {call}" for call in calls),
            *(f"        {name} += rows * {size};" for name, size in pointers.items()),
            "        n -= rows;",
            "    }",
            "}",
        ]

    def _call(self, function: str, stride: str) -> list[str]:
        if function not in self.records:
            return []
        record = self.records[function]
        arguments = [self._input(tensor.name, stride) for tensor in record.inputs]
        for tensor in record.outputs:
            if tensor.name in self.offsets and function in ("observe", "imagine"):
                arguments.append(f"next + {self.offsets[tensor.name]}, NMBRL_STATE_SIZE")
            else:
                arguments.append(f"{OUTPUTS[function][tensor.name]}, {tensor.size}")
        return [f"{function}_rows({', '.join(arguments)}, rows);"]

    def _input(self, name: str, stride: str) -> str:
        if name in self.offsets:
            return f"state + {self.offsets[name]}, {stride}"
        return ", ".join(INPUTS[name])

    def _aliases(self, function: str, stride: str) -> list[str]:
        calls = []
        sizes = {segment.name: segment.size for segment in self.interface.state}
        for output, source in self.interface.aliases.get(function, {}).items():
            if function in ("observe", "imagine"):
                target = f"next + {self.offsets[output]}, NMBRL_STATE_SIZE"
                calls.append(f"nmbrl_copy({sizes[output]}, {self._input(source, stride)}, {target}, rows);")
        return calls
