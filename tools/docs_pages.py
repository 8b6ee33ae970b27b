"""Pages of the site that are made of the code while it is built: the commands, and the cost constants.

A hook of MkDocs (mkdocs.yml).
"""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import fields
from importlib.metadata import entry_points
from itertools import groupby

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from nmbrl.hil.cost import CYCLES_PER_INSTRUCTION, ENERGY_PER_CYCLE
from nmbrl.targets.costs import CONSTANTS, MLPERF_TINY_MACS
from nmbrl.targets.loihi.latency import LEAVES_OUT, MODELS

ORDER = ("nmbrl-train", "nmbrl-convert", "nmbrl-run", "nmbrl-hil", "nmbrl-report", "nmbrl-loihi")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages to the site."""
    files.append(File.generated(config, "commands.md", content=commands_page()))
    files.append(File.generated(config, "costs.md", content=costs_page()))
    return files


def commands_page() -> str:
    """Every command with its arguments and options, as `--help` knows them."""
    head = (
        "# Commands\n\n"
        "Made of the commands themselves. Each exits with 0 on success and with 2, after one line that says what is "
        "wrong and what to do, on wrong use and bad input. On a terminal they show progress as they go, elsewhere "
        "plain lines.\n"
    )
    scripts = {
        script.name: script for script in entry_points(group="console_scripts") if script.name.startswith("nmbrl-")
    }
    assert scripts.keys() == set(ORDER), f"ORDER lacks a command, or has one too many: {sorted(scripts)}"
    return "\n".join([head, *(line for name in ORDER for line in _command(name, scripts[name].load(), 2))])


def _command(name: str, command: click.Command, level: int) -> Iterator[str]:
    context = click.Context(command, info_name=name)
    yield f"{'#' * level} {name}\n"
    yield f"```text\n{name} {' '.join(command.collect_usage_pieces(context))}\n```\n"
    yield _prose(command.help) + "\n"
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    if options:
        yield _table(("option", "value", "meaning"), [_option(option, context) for option in options])
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            yield from _command(f"{name} {below}", command.commands[below], level + 1)


def _prose(text: str | None) -> str:
    """A docstring as Markdown: what follows a form feed is not for users, literals have one backquote."""
    return inspect.cleandoc((text or "").split("\f")[0]).replace("``", "`")


def _option(option: click.Option, context: click.Context) -> tuple[str, str, str]:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    default = option.get_default(context, call=True) if option.show_default else None
    told = "" if default is None else f" Default: {default}."
    return names, "" if option.is_flag else _value(option, context), (option.help or "") + told


def _value(option: click.Option, context: click.Context) -> str:
    """What an option takes: its choices, or its kind with the bounds."""
    if isinstance(option.type, click.Choice):
        return ", ".join(f"`{choice}`" for choice in option.type.choices)
    kind = f"`{option.metavar or option.type.name.split()[0].upper()}`"
    if isinstance(option.type, (click.IntRange, click.FloatRange)):
        bounds = (("≥", option.type.min), ("≤", option.type.max))
        kind += "".join(f" {sign} {bound:g}" for sign, bound in bounds if bound is not None)
    return kind


def costs_page() -> str:
    """Every constant that a cost rests on, with its source."""
    parts = [
        "# Cost constants and their sources\n",
        "No energy and no time of a chip in this project is a measurement of this project: they are counts, made here, "
        "times the published constants below. This page is made of the code that multiplies "
        "(`targets/costs.py`, `targets/loihi/latency.py`, `hil/cost.py`) each time it is built.\n",
        "## Energy of an operation\n",
        f"MLPerf Tiny's figures are microjoules an inference, divided here by the {MLPERF_TINY_MACS:,} "
        "multiply-accumulates of its network. No energy of a single operation is published for Loihi 2: it is priced "
        "with Loihi 1's.\n",
    ]
    for source, constants in groupby(CONSTANTS, key=lambda constant: constant.source):
        rows = [(constant.name, f"{_digits(constant.joules * 1e12)}\u00a0pJ") for constant in constants]
        parts += [f"Source: {source}.\n", _table(("what", "energy"), rows)]
    parts += [
        "## Time of an operation on Loihi\n",
        "A step takes what its busiest core takes, then the longest way of a packet, then the barrier over as many "
        f"tiles. Each model has an estimate and both ends of its range. Left out: {LEAVES_OUT}.\n",
    ]
    for model in MODELS:
        times = (model.low, model.middle, model.high)
        rows = [
            (field.name.replace("_", " "), *(_time(getattr(of, field.name)) for of in times))
            for field in fields(times[0])
        ]
        source = f"Source: {model.source}. Range: {model.range_of}.\n"
        parts += [f"### {model.name}\n", source, _table(("what", "low end", "estimate", "high end"), rows)]
    parts += [
        "## Cycles and energy of an instruction on Cortex-M\n",
        "QEMU counts instructions exactly and knows no time. Cycles are the count times the first range, energy is "
        "cycles times the second.\n",
    ]
    for title, ranges, factor, unit in (
        ("Cycles an instruction", CYCLES_PER_INSTRUCTION, 1.0, ""),
        ("Energy a cycle", ENERGY_PER_CYCLE, 1e12, "\u00a0pJ"),
    ):
        rows = [
            (core, f"{_digits(of.low * factor)} to {_digits(of.high * factor)}{unit}", of.source)
            for core, of in ranges.items()
        ]
        parts += [f"### {title}\n", _table(("core", "range", "source"), rows)]
    return "\n".join(parts)


def _time(value: float | Sequence[tuple[float, float]]) -> str:
    """Nanoseconds, a dash where a model has none, or those of the barrier by the number of tiles."""
    if isinstance(value, float):
        return "–" if value == 0 else f"{_digits(value * 1e9)}\u00a0ns"
    return ", ".join(f"{_digits(wait * 1e9)}\u00a0ns over {tiles}" for tiles, wait in value)


def _digits(number: float) -> str:
    return f"{number:,.4g}" if number < 1e4 else f"{number:,.0f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
