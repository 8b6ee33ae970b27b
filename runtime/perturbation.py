"""Changing the plant under a finished model: a longer pole, a heavier cart, actions that come late."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree

import gymnasium
import numpy as np
from gymnasium import spaces

from nmbrl.runtime.environment import Environment
from nmbrl.targets.errors import NmbrlError

DELAY = "delay"
CARTPOLE_FACTORS = ("pole_length", "cart_mass")


def parse_perturbation(text: str) -> dict[str, float]:
    """Read changes such as ``pole_length=1.3,cart_mass=1.5,delay=1``.

    ``pole_length`` and ``cart_mass`` are factors (the pole's mass stays as it is), for cart-poles of DeepMind Control
    and of Gymnasium's classic control; ``delay`` is in decisions, rounded to whole frames, for any environment.

    Raises:
        NmbrlError: if a change is unknown, or its size is not a usable number.
    """
    changes: dict[str, float] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, size = item.partition("=")
        if name not in (*CARTPOLE_FACTORS, DELAY):
            raise NmbrlError(f"unknown perturbation {name!r}; choose from {', '.join((*CARTPOLE_FACTORS, DELAY))}")
        try:
            changes[name] = float(size)
        except ValueError:
            raise NmbrlError(f"perturbation {name} needs a number, as in {name}=1.3, not {size!r}") from None
        if not np.isfinite(changes[name]) or changes[name] < 0 or (changes[name] == 0 and name != DELAY):
            raise NmbrlError(f"perturbation {name} must be positive and finite, not {size}")
    return changes


def make_environment(env: str, action_repeat: int, changes: Mapping[str, float], render: bool = False) -> Environment:
    """Make an environment whose plant is changed; arguments as for `Environment` and `parse_perturbation`.

    Raises:
        NmbrlError: if the environment cannot be made, or has no such thing to change.
    """

    def wrap(plant: gymnasium.Env) -> gymnasium.Env:
        factors = {name: factor for name, factor in changes.items() if name in CARTPOLE_FACTORS}
        if factors:
            _change_cartpole(env, plant, factors)
        frames = round(changes.get(DELAY, 0.0) * action_repeat)
        return DelayedAction(plant, frames) if frames else plant

    return Environment(env, action_repeat, render, wrap=wrap)


class DelayedAction(gymnasium.Wrapper):
    """Holds every action back for some frames; at the start the neutral action (mid-range, or the first) is applied.

    Args:
        env: environment to wrap.
        frames: steps of the environment that an action comes late.
    """

    def __init__(self, env: gymnasium.Env, frames: int) -> None:
        super().__init__(env)
        self._frames = frames
        self._pending: deque[Any] = deque()

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Start an episode with nothing but neutral actions on their way."""
        space = self.action_space
        if isinstance(space, spaces.Box):
            neutral: Any = ((space.low + space.high) / 2).astype(space.dtype)
        else:
            assert isinstance(space, spaces.Discrete)
            neutral = int(space.start)
        self._pending = deque([neutral] * self._frames)
        return self.env.reset(**options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Apply the action that was given `frames` steps ago."""
        self._pending.append(action)
        return self.env.step(self._pending.popleft())


def _change_cartpole(env: str, plant: gymnasium.Env, factors: Mapping[str, float]) -> None:
    changed: dict[str, Callable[[Any, Mapping[str, float]], None]] = {
        "dm_control/cartpole-": _change_dm_control,
        "CartPole-": _change_classic,
    }
    for prefix, change in changed.items():
        if env.startswith(prefix):
            return change(plant.unwrapped, factors)
    raise NmbrlError(f"{env} has no {next(iter(factors))} to change: that is a perturbation of cart-poles")


def _change_dm_control(plant: Any, factors: Mapping[str, float]) -> None:
    """Compile the domain's model again with every pole's capsule and the cart's box changed; inertias follow."""
    from dm_control.suite import cartpole

    xml, assets = cartpole.get_model_and_assets()
    root = ElementTree.fromstring(xml)
    pole = root.find("./default/default[@class='pole']/geom")
    cart = root.find(".//geom[@name='cart']")
    assert pole is not None and cart is not None, "dm_control's cart-pole has no such geoms"
    ends = np.array(pole.attrib["fromto"].split(), float) * factors.get("pole_length", 1.0)
    pole.set("fromto", " ".join(map(str, ends)))
    cart.set("mass", str(float(cart.attrib["mass"]) * factors.get("cart_mass", 1.0)))
    poles = plant.physics.model.nv - 1
    if poles != 1:
        raise NmbrlError(f"{poles}-pole cart-poles cannot be changed, only the one-pole tasks")
    plant.physics.reload_from_xml_string(ElementTree.tostring(root, encoding="unicode"), assets)


def _change_classic(plant: Any, factors: Mapping[str, float]) -> None:
    """Change Gymnasium's cart-pole, whose derived masses and moments are attributes of their own."""
    plant.length *= factors.get("pole_length", 1.0)
    plant.masscart *= factors.get("cart_mass", 1.0)
    plant.total_mass = plant.masspole + plant.masscart
    plant.polemass_length = plant.masspole * plant.length
