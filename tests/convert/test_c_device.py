"""What generated sources take on a core: sizes as linked, and the deepest stack by the call graph."""

import numpy as np
import pytest

from nmbrl.convert.c.device import CORES, ENTRIES, build_program, device_sizes
from nmbrl.convert.c.thumb import read_program
from nmbrl.hil.board import board_names, find_board
from nmbrl.hil.build import build_firmware
from nmbrl.hil.client import Client
from nmbrl.hil.controller import BoardController
from nmbrl.hil.messages import Kind, Statistics
from nmbrl.hil.qemu import QemuLink
from nmbrl.runtime.planners import PlannerOptions
from nmbrl.targets.errors import NmbrlError

FRAMES = """
#include <stdint.h>
__attribute__((noinline)) static int32_t leaf(volatile int32_t *x) { return x[3] + 1; }
__attribute__((noinline)) static int32_t large(int32_t y) {
    volatile int32_t x[200];
    x[3] = y;
    return leaf(x) + 1;
}
__attribute__((naked, noinline)) static int32_t assembly(__attribute__((unused)) int32_t y) {
    __asm__ volatile("push {r4-r11, lr}\\n sub sp, sp, #28\\n add sp, sp, #28\\n pop {r4-r11, pc}\\n");
}
int32_t nmbrl_configure(int32_t y) { return y; }
int32_t nmbrl_reset(int32_t y) { return large(y) + 2; }
int32_t nmbrl_update(int32_t y) { return assembly(y) + 2; }
"""
PLAIN = "int32_t nmbrl_plan(int32_t y) { return y; }\n"
RECURRING = """
int32_t nmbrl_plan(int32_t y) { return y < 2 ? 1 : 3 * nmbrl_plan(y - 1) + nmbrl_plan(y - 2); }
"""
POINTER = """
int32_t (*volatile chosen)(int32_t);
int32_t nmbrl_plan(int32_t y) { return chosen(y) + 1; }
"""


def test_a_stack_is_the_sum_of_the_frames_on_the_deepest_path():
    program = build_program({"a.c": FRAMES + PLAIN}, "Cortex-M4")
    frames = {function.name: function.frame for function in program.functions.values()}
    assert frames["assembly"] == 9 * 4 + 28
    assert 800 <= frames["large"] <= 832
    assert program.worst_stack(["nmbrl_reset"]) == frames["nmbrl_reset"] + frames["large"] + frames["leaf"]
    assert program.worst_stack(["nmbrl_update"]) == frames["nmbrl_update"] + frames["assembly"]
    assert program.worst_stack(ENTRIES) == program.worst_stack(["nmbrl_reset"])
    with pytest.raises(NmbrlError, match="no function elsewhere"):
        program.worst_stack(["elsewhere"])


def test_a_stack_without_bound_is_refused():
    with pytest.raises(NmbrlError, match="nmbrl_plan calls itself"):
        build_program({"a.c": FRAMES + RECURRING}, "Cortex-M7").worst_stack(ENTRIES)
    with pytest.raises(NmbrlError, match="nmbrl_plan calls through a pointer"):
        build_program({"a.c": FRAMES + POINTER}, "Cortex-M55")


def test_what_does_not_compile_says_so():
    with pytest.raises(NmbrlError, match=r"do not compile for Cortex-M4: .*error"):
        build_program({"a.c": "int nmbrl_plan(void) { return missing; }"}, "Cortex-M4")


def test_what_is_no_program_is_refused(tmp_path):
    (tmp_path / "text").write_text("a page of text")
    with pytest.raises(NmbrlError, match="no ELF file"):
        read_program(tmp_path / "text")


def test_the_cores_are_those_of_the_boards():
    boards = [find_board(name) for name in board_names()]
    assert {b.core: b.cpu for b in boards if b.core in CORES} == CORES


def test_a_model_has_bounds_on_every_core(small_c):
    sources = {path.name: path.read_text() for path in small_c[0].glob("*.[ch]")}
    sizes = device_sizes(sources)
    assert set(sizes) == set(CORES)
    for size in sizes.values():
        assert 4_000 < size.code < 40_000
        assert 300 < size.stack < 2_000
        assert size.constants > 1_000


@pytest.mark.parametrize("name", ["mps2-an386", "mps2-an500", "mps3-an547"])
def test_a_board_never_needs_more_stack_than_the_bound(name, small_c):
    """The firmware marks its stack and tells how much of it was ever written."""
    board = find_board(name)
    firmware = build_firmware(board, small_c[0], semihosting=True, options=("-fstack-size-section",))
    bound = read_program(firmware).worst_stack(["main"])
    link = QemuLink(board, firmware, semihosting=True)
    try:
        client = Client(link)
        options = PlannerOptions(samples=24, horizon=4, iterations=2, elites=4, policy_samples=4)
        for method in ("cem", "mppi", "shooting", "policy"):
            controller = BoardController(client, method, options)
            controller.reset(1)
            action = np.zeros(controller.model.action_size, np.float32)
            for _ in range(3):
                controller.decide(action, np.ones(3, np.float32))
        used = Statistics.unpack(client.request(Kind.STATISTICS)).stack_bytes
    finally:
        link.close()
    assert bound / 2 < used <= bound + 64
