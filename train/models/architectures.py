"""World models by name: those of this package, and those that other packages add (docs/add-a-world-model.md)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Task
from nmbrl.targets.plugins import WORLD_MODEL_PLUGINS, find_plugins, load_plugin

if TYPE_CHECKING:
    from nmbrl.train.config import LearnerConfig
    from nmbrl.train.models.trainable import TrainableModel

# Modules are imported when a model is built: settings can be checked without PyTorch.
ARCHITECTURES = {"gru": ("nmbrl.train.models.gru", "Gru"), "rssm": ("nmbrl.train.models.rssm", "Rssm")}


def architecture_names() -> list[str]:
    """Return the world models that there are, those of plug-ins last."""
    return [*ARCHITECTURES, *sorted(find_plugins(WORLD_MODEL_PLUGINS).keys() - ARCHITECTURES.keys())]


def find_architecture(name: str) -> type[TrainableModel]:
    """Return the class of a world model.

    Raises:
        NmbrlError: if there is none of that name, or it cannot be imported.
    """
    if name in ARCHITECTURES:
        module, attribute = ARCHITECTURES[name]
        return getattr(import_module(module), attribute)
    if name not in architecture_names():
        raise NmbrlError(f"there is no world model {name!r}; choose from {', '.join(architecture_names())}")
    return load_plugin(find_plugins(WORLD_MODEL_PLUGINS)[name])


def build_model(config: LearnerConfig, task: Task, terminates: bool) -> TrainableModel:
    """Make the untrained model that `config` asks for, without scales (as deployed)."""
    return find_architecture(config.architecture).build(config, task, terminates)
