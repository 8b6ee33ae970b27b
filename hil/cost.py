"""From counted instructions to cycles and energy: a stated model, no measurement of this project.

An emulator counts instructions exactly and knows nothing of pipelines, flash wait states or caches. Cycles are the
count times a range of cycles per instruction; energy is cycles times a range of energy per cycle.
"""

from nmbrl.targets.interface import Frozen

MLPERF_TINY = "MLPerf Tiny anomaly detection (264,192 MACs), as submitted, mlcommons.org/benchmarks/inference-tiny"


class Range(Frozen):
    """A quantity of which only bounds are known.

    Attributes:
        low: lower bound.
        high: upper bound.
        unit: of both.
        source: where they come from.
    """

    low: float
    high: float
    unit: str
    source: str

    def times(self, count: float, unit: str) -> "Range":
        """The range of `count` times this."""
        return Range(low=count * self.low, high=count * self.high, unit=unit, source=self.source)


CYCLES_PER_INSTRUCTION = {
    "Cortex-M4": Range(
        low=1.0,
        high=1.5,
        unit="cycles/instruction",
        source="Cortex-M4 TRM (Arm DDI 0439), instruction timings with memory without wait states: 1 cycle, pipelined "
        "loads 1 to 2, taken branches 2 to 4; the upper bound is what TensorFlow Lite Micro's 4.57 cycles/MAC on an "
        "STM32L4R5 are to about 3.06 instructions/MAC of plain matrix-vector code",
    ),
    "Cortex-M7": Range(
        low=0.5,
        high=1.5,
        unit="cycles/instruction",
        source="Cortex-M7 TRM (Arm DDI 0489): two instructions a cycle at most; the upper bound is the Cortex-M4's",
    ),
    "Cortex-M55": Range(
        low=1.0,
        high=2.0,
        unit="cycles/instruction",
        source="Cortex-M55 TRM (Arm 101051): one instruction a cycle; a vector instruction is 4 beats, 2 a cycle",
    ),
}

# Microjoules of an inference over its cycles (cycles a MAC times 264,192), of the same boards and rounds.
ENERGY_PER_CYCLE = {
    "Cortex-M4": Range(
        low=226e-12,
        high=345e-12,
        unit="J/cycle",
        source=f"{MLPERF_TINY}: STM32L4R5, 203.4 uJ at 3.4 cycles/MAC (X-CUBE-AI) and 416.3 uJ at 4.57 (TFLM)",
    ),
    "Cortex-M7": Range(
        low=482e-12,
        high=545e-12,
        unit="J/cycle",
        source=f"{MLPERF_TINY}: STM32H7A3, 165.7 uJ at 1.30 cycles/MAC (X-CUBE-AI) and at 1.15 (HALE)",
    ),
    "Cortex-M55": Range(
        low=62e-12,
        high=160e-12,
        unit="J/cycle",
        source=f"{MLPERF_TINY}: no Cortex-M55 was submitted with these figures; Cortex-M33, STM32U385 31.8 uJ and "
        "STM32U575 81.9 uJ, at 1.94 cycles/MAC (X-CUBE-AI)",
    ),
}


# Of the boards that energies are from: MLPerf Tiny's descriptions of the systems.
CLOCK_HZ = {
    "Cortex-M4": Range(low=120e6, high=120e6, unit="Hz", source=f"{MLPERF_TINY}: STM32L4R5 at 120 MHz"),
    "Cortex-M7": Range(
        low=216e6, high=280e6, unit="Hz", source=f"{MLPERF_TINY}: STM32F746 at 216, STM32H7A3 at 280 MHz"
    ),
    "Cortex-M55": Range(
        low=160e6, high=160e6, unit="Hz", source=f"{MLPERF_TINY}: no Cortex-M55; Cortex-M33, STM32U575 at 160 MHz"
    ),
}


def decision_cost(core: str, instructions: float) -> dict[str, dict[str, float | str]]:
    """Cycles, energy and time of so many instructions on a core, as bounds with a source; nothing for other cores."""
    if core not in CYCLES_PER_INSTRUCTION:
        return {}
    cycles = CYCLES_PER_INSTRUCTION[core].times(instructions, "cycles")
    price = ENERGY_PER_CYCLE[core]
    energy = Range(low=cycles.low * price.low, high=cycles.high * price.high, unit="J", source=price.source)
    clock = CLOCK_HZ[core]
    seconds = Range(
        low=cycles.low / clock.high,
        high=cycles.high / clock.low,
        unit="s",
        source=f"{cycles.source}; {clock.source}",
    )
    return {"cycles": cycles.model_dump(), "energy": energy.model_dump(), "time": seconds.model_dump()}
