"""Putting a training's configuration together from presets, YAML files and ``name=value`` pairs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from nmbrl.targets.errors import NmbrlError
from nmbrl.train.config import TrainingConfig

Nested = dict[str, Any]


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Nested:
    """Return `base` with `changes` put over it, group by group."""
    merged = dict(base)
    for name, value in changes.items():
        below = merged.get(name)
        merged[name] = merge(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return merged


def parse_assignments(assignments: Sequence[str]) -> Nested:
    """Turn ``["learner.horizon=12", ...]`` into nested settings; values are YAML.

    Raises:
        NmbrlError: if one is not ``name=value``.
    """
    settings: Nested = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not all(name.split(".")):
            raise NmbrlError(f"--set {assignment}: give NAME=VALUE, such as learner.horizon=12")
        nested = _parse_yaml(value, f"--set {assignment}")
        for part in reversed(name.split(".")):
            nested = {part: nested}
        settings = merge(settings, nested)
    return settings


def read_yaml(path: Path) -> Nested:
    """Read a file of settings.

    Raises:
        NmbrlError: if it cannot be read or is no mapping.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NmbrlError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    settings = _parse_yaml(content, str(path))
    if not isinstance(settings, dict):
        raise NmbrlError(f"{path} holds no settings; write one 'name: value' a line")
    return settings


def make_config(settings: Mapping[str, Any], source: str) -> TrainingConfig:
    """Validate settings.

    Args:
        settings: nested fields of `TrainingConfig`.
        source: where they come from, for the error.

    Raises:
        NmbrlError: naming the first setting that is wrong.
    """
    try:
        return TrainingConfig.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        said = first["msg"].removeprefix("Value error, ")
        raise NmbrlError(f"{source}: {'.'.join(map(str, first['loc']))}: {said}") from error


def dump_yaml(config: TrainingConfig) -> str:
    """Return a configuration as YAML, in the order of its fields."""
    return yaml.safe_dump(config.model_dump(), sort_keys=False)


def differences(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return ``name: one's value, not other's`` for every setting that differs."""
    found = []
    for name, value in one.items():
        if isinstance(value, Mapping):
            found += differences(value, other[name], f"{prefix}{name}.")
        elif value != other[name]:
            found.append(f"{prefix}{name}: {value}, not {other[name]}")
    return found


def _parse_yaml(text: str, source: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise NmbrlError(f"{source} is not YAML: {str(error).splitlines()[0]}") from error
