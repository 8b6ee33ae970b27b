"""The page of what `wire.py` measured."""

from collections.abc import Mapping
from typing import Any


def page(result: Mapping[str, Any]) -> str:
    """Return Markdown of those parts that were measured."""
    lines = ["# The wire: what was measured", "", "Written by the command below; the figures are in `wire.json`.", ""]
    lines += [f"    {result['command']}", ""]
    for part, write in (("fidelity", _fidelity), ("fuzz", _fuzz), ("endurance", _endurance)):
        if part in result:
            lines += [*write(result[part]), ""]
    return "\n".join(lines).rstrip() + "\n"


def _fidelity(boards: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Bit for bit",
        "",
        "Outputs of a board that differ from TensorFlow Lite Micro's and from the host library's, over random inputs "
        "to each of observe, imagine, act and value; then int8 states and actions that differ from TensorFlow Lite "
        "Micro's while each runs closed loop with a plant of its own.",
        "",
        "| board | inputs a function | from TFLM | from the library | closed-loop steps | distinct states | "
        "state bytes: board | state bytes: library | actions: board |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, of in sorted(boards.items()):
        cells = [
            name,
            f"{of['rows_a_function']:,}",
            str(of["outputs_that_differ_from"]["tflm"]),
            str(of["outputs_that_differ_from"]["library"]),
            f"{of['closed_loop_steps']:,}",
            str(of["distinct_states"]),
            str(of["state_bytes_that_differ"]["board"]),
            str(of["state_bytes_that_differ"]["library"]),
            str(of["actions_that_differ"]["board"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _fuzz(of: Mapping[str, Any]) -> list[str]:
    reasons = {1: "unknown kind", 2: "wrong length", 3: "bad value", 4: "out of step", 6: "no planner set"}
    refused = ", ".join(f"{of[f'refused_{number}']:,} {name}" for number, name in reasons.items())
    accepted = sum(count for name, count in of.items() if name.startswith("accepted_"))
    return [
        "## Damaged and hostile frames",
        "",
        f"{of['frames']:,} inputs (random, mutated, truncated, oversized, valid) into the firmware, built with gcc's "
        f"address and undefined-behaviour sanitizers: {of['pieces']:,} pieces between zero bytes, each counted by the "
        f"firmware as good ({of['good']:,}), truncated ({of['truncated']:,}), too short ({of['short']:,}), too long "
        f"({of['long']:,}) or with a wrong CRC ({of['bad_crc']:,}). Valid frames had one answer each: {accepted:,} "
        f"accepted; refused: {refused}. No report of a sanitizer, and every PING in between was answered.",
    ]


def _endurance(boards: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Endurance",
        "",
        "Control steps in one go over a link that loses and damages frames, with restarts of the board, beside the "
        "same controller in the host's process. Decisions and, at the end, beliefs are compared bit for bit. "
        "Searches are small, because the wire is what is tried.",
        "",
        "| board | link | planner | steps | frame loss | bit flips | reset | frames lost | damaged | restarts | "
        "sent again | states rebuilt | decisions that differ | unanswered | belief bytes that differ | minutes |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, of in sorted(boards.items()):
        injected, faults = of["injected"], of["faults"]
        cells = [
            name.split(",")[0],
            of["link_to"],
            of["planner"],
            f"{of['steps']:,}",
            f"{faults['loss']:g}",
            f"{faults['bitflip']:g} a bit",
            f"{faults['reset']:g} a step",
            f"{injected.get('frames_lost', 0):,}",
            f"{injected.get('frames_damaged', 0):,}",
            f"{injected.get('restarts', 0):,}",
            f"{of['link'].get('retries', 0):,}",
            f"{of['mended'].get('rebuilds', 0):,}",
            str(of["decisions_that_differ"]),
            str(of["decisions_unanswered"]),
            str(of["belief_bytes_that_differ"]),
            f"{of['seconds'] / 60:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
