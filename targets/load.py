"""Opening a run or a bundle."""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

from nmbrl.targets.bundle import MANIFEST, read_bundle
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Executor
from nmbrl.targets.plugins import TARGET_PLUGINS, find_plugins, load_plugin, unknown_options


class Target(NamedTuple):
    """Where a target's `open_executor(path, bundle, **options)` lives, and the extra that it needs."""

    module: str
    extra: str


# Other packages add targets by entry points.
TARGETS = {
    "onnx": Target("nmbrl.targets.onnx", "onnx"),
    "tflite": Target("nmbrl.targets.tflite", "tflite"),
    "c": Target("nmbrl.targets.c", "c"),
    "loihi": Target("nmbrl.targets.loihi", "loihi"),
}
RUN_CONFIG = "config.yaml"


def load(path: str | Path, **options: Any) -> Executor:
    """Open a run or a bundle and give what executes it.

    Args:
        path: directory of a run or a bundle.
        **options: choices of the target: ``interpreter`` (tflite: ``tflm`` or ``tflite-runtime``), ``simulator``
            (loihi: ``fast``, ``strict``, ``numpy`` or ``lava``), or what a plug-in takes. None means the default.

    Raises:
        NmbrlError: if it is neither, is damaged, or needs a package that is not installed.
    """
    path = Path(path)
    options = {name: value for name, value in options.items() if value is not None}
    if (path / MANIFEST).is_file():
        return _load_bundle(path, options)
    if (path / RUN_CONFIG).is_file():
        return _load_run(path, options)
    if not path.exists():
        raise NmbrlError(f"{path} does not exist; give the directory of a run or a bundle")
    raise NmbrlError(f"{path} is neither a run (no {RUN_CONFIG}) nor a bundle (no {MANIFEST})")


def _load_bundle(path: Path, options: dict[str, Any]) -> Executor:
    bundle = read_bundle(path)
    open_executor = _find_opener(bundle.target, path)
    unknown = unknown_options(open_executor, 2, options)
    if unknown:
        raise NmbrlError(f"--{unknown[0]} is no option of target {bundle.target}")
    executor = open_executor(path, bundle, **options)
    executor.provenance = bundle.provenance.labels()
    executor.layers = bundle.measured.get("layers", {})
    return executor


def _find_opener(name: str, path: Path) -> Callable[..., Executor]:
    plugins = find_plugins(TARGET_PLUGINS)
    if name not in TARGETS:
        if name in plugins:
            return load_plugin(plugins[name])
        known = ", ".join([*TARGETS, *sorted(plugins)])
        raise NmbrlError(f"{path} is for target {name!r}, which this nmbrl does not run ({known})")
    target = TARGETS[name]
    try:
        return import_module(target.module).open_executor
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("nmbrl"):
            raise
        raise NmbrlError(f"running {path} needs {error.name}: pip install 'nmbrl[{target.extra}]'") from error


def _load_run(path: Path, options: dict[str, Any]) -> Executor:
    if options:
        raise NmbrlError(f"{path} is a run, executed by PyTorch: --{next(iter(options))} is an option of bundles")
    loaders = list(entry_points(group="nmbrl.run_loader"))
    try:
        return loaders[0].load()(path)
    except (IndexError, ModuleNotFoundError) as error:
        raise NmbrlError(f"running the run {path} needs PyTorch: pip install 'nmbrl[train]'") from error
