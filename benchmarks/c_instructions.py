"""Instructions of an inference on this machine: TensorFlow Lite Micro and C, counted by valgrind's callgrind.

Counting is switched on around the evaluations only, from inside the process, so that neither start-up nor preparation
is part of it; each count is that of `TIMES` evaluations of one row, divided by them.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from nmbrl.targets.bundle import Function, read_bundle
from nmbrl.targets.compiler import FLAGS, find_compiler, run_compiler
from nmbrl.targets.errors import NmbrlError

TIMES = 20
# Valgrind does not know AVX-512.
INSTRUCTION_SET = "-mavx2"
SWITCH = """
#include <valgrind/callgrind.h>
void on(void) { CALLGRIND_START_INSTRUMENTATION; CALLGRIND_ZERO_STATS; }
void off(const char *name) { CALLGRIND_DUMP_STATS_AT(name); CALLGRIND_STOP_INSTRUMENTATION; }
"""
TFLM_LOOP = """
import ctypes, sys
import numpy as np
from tflite_micro import runtime
switch = ctypes.CDLL(sys.argv[1])
for argument in sys.argv[3:]:
    name, path, *sizes = argument.split(":")
    interpreter = runtime.Interpreter.from_file(path)
    for index, size in enumerate(map(int, sizes)):
        interpreter.set_input(np.zeros((1, size), np.int8), index)
    interpreter.invoke()
    switch.on()
    for _ in range(int(sys.argv[2])):
        interpreter.invoke()
    switch.off(name.encode())
"""
C_LOOP = """
#include "nmbrl.h"
void on(void);
void off(const char *name);
static int8_t state[NMBRL_STATE_SIZE], next[NMBRL_STATE_SIZE], action[NMBRL_ACTION_SIZE];
static int8_t observation[NMBRL_OBSERVATION_SIZE], reward[1], alive[1];
#define COUNT(name, call) do { call; on(); for (int i = 0; i < TIMES; ++i) call; off(name); } while (0)
int main(void) {
    COUNT("observe", nmbrl_observe(state, action, observation, next, 1));
    COUNT("imagine", nmbrl_imagine(state, action, next, reward, alive, 1));
    COUNT("act", nmbrl_act(state, action, 1));
    COUNT("value", nmbrl_value(state, reward, 1));
    return 0;
}
"""


def compare_instructions(tflite: Path, c: Path) -> dict[str, Any]:
    """Return instructions of one inference of one row in TFLM and in C, by function, and their ratio."""
    check_valgrind()
    record = read_bundle(tflite)
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        texts = {"switch.c": SWITCH, "driver.c": C_LOOP, "loop.py": TFLM_LOOP}
        switch, driver, loop = (folder / name for name in texts)
        for name, text in texts.items():
            (folder / name).write_text(text)
        run_compiler(["-O1", "-shared", "-fPIC", str(switch), "-o", str(folder / "switch.so")])
        sources = [str(path) for path in sorted(c.glob("*.c"))]
        flags = [*FLAGS, INSTRUCTION_SET, f"-DTIMES={TIMES}", f"-I{c}"]
        run_compiler([*flags, str(driver), str(switch), *sources, "-o", str(folder / "driver")])
        models = [_describe(name, tflite, function) for name, function in record.functions.items()]
        tflm = _count([sys.executable, str(loop), str(folder / "switch.so"), str(TIMES), *models], folder / "tflm")
        ours = _count([str(folder / "driver")], folder / "c")
    return {name: {"tflm": tflm[name], "c": ours[name], "ratio": tflm[name] / ours[name]} for name in record.functions}


def check_valgrind() -> None:
    """Check that valgrind and its header are there.

    Raises:
        NmbrlError: saying what to install, if not.
    """
    probe = "#include <valgrind/callgrind.h>\n"
    compiled = subprocess.run([*find_compiler(), "-E", "-x", "c", "-"], input=probe, text=True, capture_output=True)
    if shutil.which("valgrind") is None or compiled.returncode:
        raise NmbrlError("counting instructions needs valgrind and its headers: apt-get install valgrind")


def _describe(name: str, bundle: Path, function: Function) -> str:
    return ":".join([name, str(bundle / function.file), *(str(tensor.size) for tensor in function.inputs)])


def _count(command: list[str], out: Path) -> dict[str, float]:
    """Return instructions of one evaluation, by the name that the process gave each count."""
    valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]
    done = subprocess.run([*valgrind, *command], capture_output=True, text=True, check=False)
    counts = {}
    for profile in out.parent.glob(f"{out.name}.*"):
        text = profile.read_text()
        name = re.search(r"Client Request: (\w+)", text)
        total = re.search(r"^(?:totals|summary): (\d+)", text, re.M)
        if name and total:
            counts[name.group(1)] = int(total.group(1)) / TIMES
    if done.returncode or not counts:
        raise NmbrlError(f"callgrind fails: {(done.stderr.strip().splitlines() or ['no counts'])[-1]}")
    return counts
