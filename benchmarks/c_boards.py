"""What the C runtime costs on the emulated boards: instructions a MAC and a decision, exact counts of QEMU -icount."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nmbrl.convert.c.device import ENTRIES
from nmbrl.convert.c.thumb import read_program
from nmbrl.hil.board import Board, find_board
from nmbrl.hil.build import build_firmware
from nmbrl.hil.client import Client
from nmbrl.hil.controller import BoardController
from nmbrl.hil.executor import FUNCTIONS, BoardExecutor
from nmbrl.hil.qemu import QemuLink, instructions
from nmbrl.runtime.planners import make_options
from nmbrl.targets.bundle import Bundle, read_bundle
from nmbrl.targets.c_planner import memory_flags
from nmbrl.targets.load import load

BOARDS = ("mps2-an386", "mps2-an500", "mps3-an547")
# Rows at once, and rows that are compared with TensorFlow Lite Micro.
ROWS, COMPARED = 24, 10_000
DECISIONS = 20
# Every kernel but the dense layers: emptied, what is left of a function is its dense layers.
OTHERS = ("add", "multiply", "map", "copy", "softmax")
STACK = ("-fstack-size-section",)


def measure_board(name: str, c: Path, tflite: Path, search: dict[str, Any]) -> dict[str, Any]:
    """Return instructions of every function and of decisions, memory, and differences from TFLM.

    Args:
        name: of the board.
        c: the bundle that the firmware is built from.
        tflite: the bundle that it was made from.
        search: fields of `PlannerOptions`.
    """
    board = find_board(name)
    options = make_options(**search)
    flags = (*memory_flags(options.model_dump()), *STACK)
    bundle = read_bundle(c)
    with _executor(board, bundle, c, flags) as executor:
        measured = {"functions": _functions(executor), "tflm_differences": _differences(executor, tflite)}
        measured["decisions"] = {m: _decisions(executor.client, m, options) for m in ("cem", "mppi")}
    program = read_program(build_firmware(board, c, semihosting=True, options=flags))
    measured["firmware"] = {
        "flash_bytes": program.flash,
        "ram_bytes": program.ram,
        "stack_bytes_at_most": program.worst_stack(["main"]),
        "planner_stack_bytes_at_most": program.worst_stack(ENTRIES),
    }
    with tempfile.TemporaryDirectory() as directory:
        bare = Path(directory) / "c"
        _keep_dense(c, bare)
        with _executor(board, bundle, bare, ()) as executor:
            measured["dense_layers"] = _functions(executor)
    return measured


@contextmanager
def _executor(board: Board, bundle: Bundle, sources: Path, flags: tuple[str, ...]) -> Iterator[BoardExecutor]:
    link = QemuLink(board, build_firmware(board, sources, semihosting=True, options=flags), semihosting=True)
    try:
        yield BoardExecutor(bundle, Client(link))
    finally:
        link.close()


def _random(executor: BoardExecutor, function: str, rows: int, seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    sizes = executor.interface.input_sizes(function)
    return {name: random.integers(-128, 128, (rows, size), np.int8) for name, size in sizes.items()}


def _functions(executor: BoardExecutor) -> dict[str, dict[str, float]]:
    tick_hz = executor.client.connect().tick_hz
    measured = {}
    for function in FUNCTIONS:
        executor.ticks[function] = 0
        executor.call_integers(function, _random(executor, function, ROWS, 0))
        counted = instructions(executor.ticks[function], tick_hz) / ROWS
        measured[function] = {
            "instructions_a_row": counted,
            "macs": executor.macs[function],
            "instructions_a_mac": counted / executor.macs[function],
        }
    return measured


def _differences(executor: BoardExecutor, tflite: Path) -> dict[str, int]:
    """How many output integers of `COMPARED` random rows differ from TensorFlow Lite Micro's, by function."""
    oracle = load(tflite)
    differences = {}
    for function in FUNCTIONS:
        given = _random(executor, function, COMPARED, 1)
        made, expected = executor.call_integers(function, given), oracle.call_integers(function, given)
        differences[function] = int(sum((made[name] != expected[name]).sum() for name in expected))
    return differences


def _decisions(client: Client, method: str, options: Any) -> dict[str, float]:
    """Instructions of observing and deciding, over `DECISIONS` decisions on a random walk of observations."""
    controller = BoardController(client, method, options)
    controller.reset(0)
    random = np.random.default_rng(0)
    action = np.zeros(controller.model.action_size, np.float32)
    counted = []
    walk = np.cumsum(random.normal(0, 0.1, (DECISIONS, controller.model.observation_size)), axis=0)
    for observation in walk.astype(np.float32):
        decision = controller.decide(action, observation)
        ticks = decision.observe_ticks + decision.plan_ticks
        counted.append(instructions(ticks, controller.identity.tick_hz))
        action = decision.action
    return {"mean_instructions": float(np.mean(counted)), "most_instructions": float(np.max(counted))}


def _keep_dense(c: Path, out: Path) -> None:
    """Copy a bundle with every other kernel emptied."""
    shutil.copytree(c, out)
    header = (out / "nmbrl_kernels.h").read_text()
    for name in OTHERS:
        for source in out.glob(f"{name}*.c"):
            source.unlink()
        prototype = re.search(rf"^void nmbrl_{name}\((.*?)\);", header, re.M | re.S)
        assert prototype is not None
        names = [parameter.split("*")[-1].split()[-1] for parameter in prototype.group(1).split(",")]
        body = " ".join(f"(void){parameter};" for parameter in names)
        (out / f"{name}.c").write_text(f'#include "nmbrl_kernels.h"\n{prototype.group(0)[:-1]} {{ {body} }}\n')
