"""The firmware under the address and undefined-behaviour sanitizers, fed with what no host would send.

``benchmarks/wire.py`` sends a million frames; these are the same, fewer.
"""

from pathlib import Path

import pytest
from wire_fuzz import FIRMWARE, build_fuzzer, fuzz

from nmbrl.targets.errors import NmbrlError

FRAMES = 20_000


@pytest.fixture(scope="module")
def fuzzer(small_c: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_fuzzer(tmp_path_factory.mktemp("fuzz") / "fuzz", small_c[0])


@pytest.mark.parametrize("seed", [0, 1])
def test_no_frame_harms_or_silences_the_firmware(fuzzer: Path, seed: int) -> None:
    counts = fuzz(fuzzer, FRAMES, seed)
    assert counts["frames"] == FRAMES
    # Every sort of damage, the reasons to refuse of a board with model and planner, every kind of request accepted.
    sorts = [f"refused_{reason}" for reason in (1, 2, 3, 4)] + [f"accepted_{kind}" for kind in range(1, 13)]
    for name in ("good", "truncated", "short", "long", "bad_crc", *sorts):
        assert counts[name] > 0, name


def test_a_board_without_a_model_is_not_harmed_either(tmp_path: Path) -> None:
    counts = fuzz(build_fuzzer(tmp_path / "fuzz", None), FRAMES, 0)
    assert counts["refused_5"] > 0
    assert counts["accepted_3"] == 0


def test_the_sanitizers_are_on(tmp_path: Path) -> None:
    """A decoder without its bound must be caught: else the tests above could not fail."""
    codec = (FIRMWARE / "frame.c").read_text()
    bound = "if (decoder->length < NMBRL_MAX_FRAME) {"
    assert codec.count(bound) == 1
    (tmp_path / "frame.c").write_text(codec.replace(bound, "if (decoder->length < 100 * NMBRL_MAX_FRAME) {"))
    with pytest.raises(NmbrlError, match=r"runtime error|AddressSanitizer"):
        fuzz(build_fuzzer(tmp_path / "fuzz", None, tmp_path / "frame.c"), 2000, 0)


def test_a_frame_that_is_not_counted_is_noticed(tmp_path: Path) -> None:
    codec = (FIRMWARE / "frame.c").read_text()
    counted = "return NMBRL_FRAME_SHORT;"
    assert codec.count(counted) == 1
    (tmp_path / "frame.c").write_text(codec.replace(counted, "return NMBRL_FRAME_NONE;"))
    with pytest.raises(NmbrlError, match="frames that were not counted"):
        fuzz(build_fuzzer(tmp_path / "fuzz", None, tmp_path / "frame.c"), 2000, 0)
