"""Lowered functions printed as C: constants, layers, and a function of kernel calls each."""

from collections.abc import Sequence
from functools import singledispatchmethod

import numpy as np

from nmbrl.convert.c.constants import Constants, by_pattern, pack_weights
from nmbrl.convert.c.memory import Plan, memory_map, plan_memory
from nmbrl.convert.c.steps import Add, Dense, Lowered, Map, Multiply, Slot, Softmax, Step

# NMBRL_WEIGHT_MARGIN of runtime/c/nmbrl_kernels.h.
WEIGHT_MARGIN = 32


class Printer:
    """Prints functions that share constants and scratch memory.

    Attributes:
        constants: what they share.
        plans: scratch memory of each function, by name.
    """

    def __init__(self) -> None:
        self.constants = Constants()
        self.plans: dict[str, Plan] = {}
        self._layers: list[str] = []
        self._layer_names: dict[str, str] = {}

    @property
    def scratch(self) -> int:
        """Bytes of scratch memory of a row."""
        return max((plan.row_size for plan in self.plans.values()), default=0)

    def function(self, lowered: Lowered) -> list[str]:
        """Return the definition of ``static void <name>_rows(...)``: a pointer and a stride for every operand."""
        plan = self.plans[lowered.name] = plan_memory(lowered)
        parameters = [f"const int8_t *{s.name}, size_t {s.name}_stride" for s in lowered.inputs]
        parameters += [f"int8_t *{s.name}_out, size_t {s.name}_out_stride" for s in lowered.outputs]
        body = [self._call(f"{lowered.name}_{i}", step, plan) for i, step in enumerate(lowered.steps)]
        used = " ".join(body)
        unused = [
            f"    (void){s.name}, (void){s.name}_stride;" for s in lowered.inputs if f"{s.name}_stride" not in used
        ]
        return [
            "/* Scratch memory, by byte of a row and by step:",
            *(f" * {line}" for line in memory_map(lowered, plan)),
            " */",
            f"static void {lowered.name}_rows({', '.join([*parameters, 'size_t n'])}) {{",
            *unused,
            *body,
            "}",
        ]

    def layers(self) -> list[str]:
        """Return the definitions of the layers that the functions use."""
        return self._layers

    def _call(self, name: str, step: Step, plan: Plan) -> str:
        operands = [self._operand(slot, plan, output=False) for slot in step.inputs]
        operands.append(self._operand(step.output, plan, output=True))
        return f"    nmbrl_{self._kernel(step, name)}, {', '.join(operands)}, n); /* {step.origin} */"

    def _operand(self, slot: Slot, plan: Plan, output: bool) -> str:
        owner = slot.storage
        start = f" + {slot.start}" if slot.start else ""
        if owner.kind == "constant":
            assert owner.data is not None
            return f"{self.constants.add(owner.name, 'int8_t', owner.data, 'parameters')}{start}, 0"
        if owner.kind == "scratch":
            offset = plan.offset(owner)
            base = f"scratch + {offset} * NMBRL_MAX_BATCH" if offset else "scratch"
            return f"{base}{start}, {owner.size}"
        name = f"{owner.name}_out" if owner.kind == "output" else owner.name
        return f"{name}{start}, {name}_stride"

    def _layer(self, kind: str, name: str, fields: str) -> str:
        """Return the name of a layer with these fields, one for all uses."""
        text = f"{kind} {{{fields}}}"
        if text not in self._layer_names:
            self._layer_names[text] = name
            self._layers.append(f"static const nmbrl_{kind}_layer {name} = {{{fields}}};")
        return self._layer_names[text]

    @singledispatchmethod
    def _kernel(self, step: Step, name: str) -> str:
        """Return the kernel's name and its leading arguments."""
        raise TypeError(step)

    @_kernel.register
    def _(self, step: Dense, name: str) -> str:
        rows, columns = step.weights.shape
        even = rows + rows % 2
        padding = [0] * (even - rows)
        weights = self.constants.add(f"{name}_weights", "int8_t", pack_weights(step.weights, WEIGHT_MARGIN), "weights")
        bias = self.constants.add(f"{name}_bias", "int32_t", [*step.bias, *padding], "weights")
        factors = [factor.value for factor in step.multipliers]
        multiplier = self.constants.add(f"{name}_multiplier", "int32_t", [*factors, *padding], "parameters")
        shifts = [factor.shift for factor in step.multipliers]
        shift = self.constants.add(f"{name}_shift", "int8_t", [*shifts, *padding], "parameters")
        table = self.constants.table(f"{name}_table", step.table)
        fields = (
            f"{weights}, {bias}, {multiplier}, {shift}, {table}, {rows}, {columns}, "
            f"{step.zero_point}, {step.low}, {step.high}, {min(shifts)}, {max(shifts)}"
        )
        layer = self._layer("dense", name, fields)
        return f"dense(&{layer}"

    @_kernel.register
    def _(self, step: Add, name: str) -> str:
        tables = [
            self.constants.add(
                f"{name}_addend_{which}", "int32_t", [2 * addend for addend in by_pattern(table)], "tables"
            )
            for which, table in (("a", step.a_table), ("b", step.b_table))
        ]
        layer = self._layer("add", name, (
            f"{tables[0]}, {tables[1]}, {self.constants.table(f'{name}_table', step.table)}, {step.multiplier.value}, "
            f"{step.output.size}, {step.multiplier.shift}, {step.zero_point}, {step.low}, {step.high}"
        ))  # fmt: skip
        return f"add(&{layer}"

    @_kernel.register
    def _(self, step: Multiply, name: str) -> str:
        layer = self._layer("multiply", name, (
            f"{self.constants.table(f'{name}_table', step.table)}, {step.multiplier.value}, {step.output.size}, "
            f"{step.multiplier.shift}, {step.a_zero}, {step.b_zero}, {step.zero_point}, {step.low}, {step.high}"
        ))  # fmt: skip
        return f"multiply(&{layer}"

    @_kernel.register
    def _(self, step: Map, name: str) -> str:
        if step.table is None:
            return f"copy({step.output.size}"
        return f"map({self.constants.table(f'{name}_table', step.table)}, {step.output.size}"

    @_kernel.register
    def _(self, step: Softmax, name: str) -> str:
        table = self.constants.add(f"{name}_exponentials", "int32_t", step.exponentials, "tables")
        return f"softmax({table}, {step.output.size}"


def scratch_definition(printer: Printer) -> str:
    """Return the definition of the memory that all functions share, empty if they need none."""
    return f"static int8_t scratch[{printer.scratch} * NMBRL_MAX_BATCH] NMBRL_ALIGNED;" if printer.scratch else ""


def float_literal(value: float) -> str:
    """Return a float32 as C99 hexadecimal literal, exact."""
    return f"{float(np.float32(value)).hex()}f"


def float_array(name: str, values: Sequence[float]) -> list[str]:
    """Return the definition of a float array that other files see."""
    return [f"const float {name}[{len(values)}] = {{{', '.join(float_literal(value) for value in values)}}};"]
