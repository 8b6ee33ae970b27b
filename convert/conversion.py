"""Lowering a run to a target by name: what `nmbrl-convert` does, from Python."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from nmbrl.convert.quiet import quiet
from nmbrl.targets.bundle import MANIFEST, Bundle, check_free
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.plugins import CONVERSION_PLUGINS, find_plugins, load_plugin, unknown_options

Progress = Callable[[str], None]


class Conversion(NamedTuple):
    """Where a target's `convert(run, out, progress, **options)` lives, and the extra that it needs."""

    module: str
    extra: str


# Other packages add conversions by entry points.
CONVERSIONS = {
    "onnx": Conversion("nmbrl.convert.onnx", "convert"),
    "tflite": Conversion("nmbrl.convert.tflite", "convert"),
    "c": Conversion("nmbrl.convert.c.bundle", "convert,tflite,c"),
    "loihi": Conversion("nmbrl.convert.loihi", "convert,loihi"),
}


def target_names() -> list[str]:
    """Return the targets that a run can be converted to, those of plug-ins last."""
    return [*CONVERSIONS, *sorted(find_plugins(CONVERSION_PLUGINS).keys() - CONVERSIONS.keys())]


def convert(
    path: str | Path, target: str, out: str | Path, progress: Progress = lambda step: None, **options: Any
) -> Bundle:
    """Open a run, lower it to one target and verify it against PyTorch.

    Args:
        path: directory of a run; for C also of an int8 TFLite bundle.
        target: one of `target_names`.
        out: directory of the bundle; a bundle that is there is replaced.
        progress: called with the name of every step before it starts.
        **options: options of the target; None means its default.

    Raises:
        NmbrlError: for an unknown target, an option that the target does not have, a missing package, a damaged run,
            something else than a bundle at `out`, or whatever the target cannot convert.
    """
    path, out = Path(path), Path(out)
    if target not in target_names():
        raise NmbrlError(f"no target {target!r}; choose from {', '.join(target_names())}")
    if not path.exists():
        raise NmbrlError(f"{path} does not exist; give the directory of a run")
    check_free(out)
    progress("load")
    given = {name: value for name, value in options.items() if value is not None}
    lower = find_conversion(target)
    unknown = unknown_options(lower, 3, given)
    if unknown:
        raise NmbrlError(f"--{unknown[0].replace('_', '-')} is no option of target {target}")
    if target == "c" and (path / MANIFEST).is_file():
        return load_conversion("c").convert_bundle(path, out, progress)
    return lower(_open_run(path), out, progress, **given)


def find_conversion(target: str) -> Callable[..., Bundle]:
    """Return what lowers a run to a target: `convert(run, out, progress, **options)`.

    Raises:
        NmbrlError: if it, or a package that it needs, is not installed.
    """
    if target in CONVERSIONS:
        return load_conversion(target).convert
    return load_plugin(find_plugins(CONVERSION_PLUGINS)[target])


def load_conversion(target: str) -> Any:
    """Import the module of a target in `CONVERSIONS`.

    Raises:
        NmbrlError: if a package that it needs is not installed.
    """
    try:
        with quiet():
            return import_module(CONVERSIONS[target].module)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("nmbrl"):
            raise
        extra = CONVERSIONS[target].extra
        raise NmbrlError(f"converting to {target} needs {error.name}: pip install 'nmbrl[{extra}]'") from error


def _open_run(path: Path) -> Any:
    from nmbrl.train.run import open_run  # a command answers --help without PyTorch

    return open_run(path)
