"""What other packages add to nmbrl, found by their entry points (docs/add-a-target.md, docs/add-a-world-model.md)."""

import inspect
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from nmbrl.targets.errors import NmbrlError

# Groups of entry points, and what each of them names.
TARGET_PLUGINS = "nmbrl.targets"  # open_executor(path, bundle, **options) -> Executor
CONVERSION_PLUGINS = "nmbrl.conversions"  # convert(run, out, progress, **options) -> Bundle
WORLD_MODEL_PLUGINS = "nmbrl.world_models"  # a subclass of nmbrl.train.models.trainable.TrainableModel


def find_plugins(group: str) -> dict[str, EntryPoint]:
    """Return what installed packages add to a group, by name."""
    return {entry.name: entry for entry in entry_points(group=group)}


def load_plugin(entry: EntryPoint) -> Any:
    """Import what an entry point names.

    Raises:
        NmbrlError: if that fails.
    """
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise NmbrlError(f"{entry.group}: {entry.name} = {entry.value} cannot be loaded: {error}") from error


def unknown_options(function: Callable[..., Any], positional: int, given: Iterable[str]) -> list[str]:
    """Return those of the `given` options that a function does not take; one with ``**options`` checks them itself.

    Args:
        function: what will be called.
        positional: number of its leading parameters that are no options.
        given: names of the options.
    """
    parameters = list(inspect.signature(function).parameters.values())[positional:]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return []
    return [name for name in given if name not in {parameter.name for parameter in parameters}]
