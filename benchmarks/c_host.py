"""What the C library does on this machine beside TensorFlow Lite Micro, ONNX Runtime and PyTorch, as ratios of one run.

Times are of the processor, summed over threads, so that other work on the machine does not count. Instructions are
counted by valgrind's callgrind: the difference between a process that evaluates a function many times and one that
evaluates it a few times, divided by the difference of the times.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from nmbrl.runtime.planners import make_planner
from nmbrl.targets.bundle import read_bundle
from nmbrl.targets.compiler import FLAGS, run_compiler
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Executor
from nmbrl.targets.load import load

# A population of 32, of which 8 elites are kept.
SEARCH = {"samples": 24, "horizon": 6, "iterations": 3, "elites": 8, "policy_samples": 4}
DECISIONS = 30
FEW, MANY = 20, 120
# Valgrind does not know AVX-512.
INSTRUCTION_SET = "-mavx2"
TFLM_LOOP = """
import sys
import numpy as np
from tflite_micro import runtime
interpreter = runtime.Interpreter.from_file(sys.argv[1])
for index, size in enumerate(map(int, sys.argv[3:])):
    interpreter.set_input(np.zeros((1, size), np.int8), index)
for _ in range(int(sys.argv[2])):
    interpreter.invoke()
"""
C_LOOP = """
#include <stdlib.h>
#include "nmbrl.h"
static int8_t state[NMBRL_STATE_SIZE], next[NMBRL_STATE_SIZE], action[NMBRL_ACTION_SIZE];
static int8_t observation[NMBRL_OBSERVATION_SIZE], reward[1], alive[1];
int main(int count, char **values) {
    (void)count;
    for (int i = atoi(values[2]); i > 0; --i) {
        switch (values[1][0]) {
        case 'o': nmbrl_observe(state, action, observation, next, 1); break;
        case 'i': nmbrl_imagine(state, action, next, reward, alive, 1); break;
        case 'a': nmbrl_act(state, action, 1); break;
        default: nmbrl_value(state, reward, 1);
        }
    }
    return 0;
}
"""


def time_decisions(executor: Executor, planner: str = "cem") -> dict[str, float]:
    """Return processor and wall time of a decision in milliseconds, the median of `DECISIONS`."""
    search = make_planner(planner, executor, adapt=False, **SEARCH)
    search.reset([0])
    random = np.random.default_rng(0)
    size = executor.interface.task.observation_size
    state = executor.reset(1)
    action = np.zeros((1, executor.interface.task.action_size), np.float32)
    spent = []
    for _ in range(DECISIONS + 3):
        state = executor.observe(state, action, random.normal(0, 1, (1, size)).astype(np.float32))
        begun = time.process_time(), time.perf_counter()
        action = search.decide(state)
        spent.append((time.process_time() - begun[0], time.perf_counter() - begun[1]))
    processor, wall = zip(*spent[3:], strict=True)
    return {"processor_ms": 1e3 * median(processor), "wall_ms": 1e3 * median(wall)}


def count_instructions(command: list[str]) -> int:
    """Return the instructions that callgrind counts in a process."""
    with tempfile.NamedTemporaryFile() as profile:
        full = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile.name}", *command]
        done = subprocess.run(full, capture_output=True, text=True, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if found is None:
        raise NmbrlError(f"callgrind fails: {done.stderr.strip().splitlines()[-1]}")
    return int(found.group(1))


def instructions_of(command: list[str]) -> float:
    """Return the instructions of one evaluation; `command` gets the number of evaluations appended after its second."""
    few, many = (count_instructions([*command[:3], str(times), *command[3:]]) for times in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def compare_instructions(tflite: Path, c: Path) -> dict[str, Any]:
    """Return instructions of one inference (batch 1) in TFLM and in C, by function."""
    record = read_bundle(tflite)
    counts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory:
        driver, program = Path(directory) / "driver.c", Path(directory) / "driver"
        driver.write_text(C_LOOP)
        sources = [str(path) for path in sorted(c.glob("*.c"))]
        run_compiler([*FLAGS, INSTRUCTION_SET, f"-I{c}", str(driver), *sources, "-o", str(program)])
        loop = Path(directory) / "loop.py"
        loop.write_text(TFLM_LOOP)
        for name, function in record.functions.items():
            sizes = [str(tensor.size) for tensor in function.inputs]
            tflm = instructions_of([sys.executable, str(loop), str(tflite / function.file), *sizes])
            few, many = (count_instructions([str(program), name, str(times)]) for times in (FEW, MANY))
            ours = (many - few) / (MANY - FEW)
            counts[name] = {"tflm": tflm, "c": ours, "ratio": tflm / ours}
    return counts


def compare_decisions(run: Path, onnx: Path, c: Path) -> dict[str, Any]:
    """Return the time of a CEM decision in PyTorch, ONNX Runtime and C, and how many times faster C is."""
    import torch

    torch.set_num_threads(1)
    times = {name: time_decisions(load(path)) for name, path in {"pytorch": run, "onnx": onnx, "c": c}.items()}
    ratios = {name: times[name]["processor_ms"] / times["c"]["processor_ms"] for name in ("pytorch", "onnx")}
    return {"search": SEARCH, "times": times, "times_faster_than": ratios}
