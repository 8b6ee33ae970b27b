"""A plant as lines of text: a cart with its pole where the observation tells of one, else a bar for each number."""

import math

from nmbrl.targets.interface import Array

WIDTH, HEIGHT = 61, 13
# Characters are about twice as high as wide.
ASPECT = 2.0
POLE = 10.0
# Half the track, in metres: DeepMind Control's cart-pole, Gymnasium's.
TRACK = {"dm_control/cartpole": 1.8, "CartPole": 2.4}


def cart_pole(env: str, observation: Array) -> tuple[float, float] | None:
    """Read where the cart is (-1 to 1 of the track) and the pole's angle (radians from upright) off an observation."""
    for name, half in TRACK.items():
        if env.startswith(name):
            if name == "CartPole":
                return float(observation[0]) / half, float(observation[2])
            return float(observation[0]) / half, math.atan2(float(observation[2]), float(observation[1]))
    return None


def draw_plant(env: str, observation: Array, action: Array) -> list[str]:
    """Draw a plant in lines of `WIDTH` characters."""
    found = cart_pole(env, observation)
    if found is None:
        return [_bar(f"o{i}", float(value), 5.0) for i, value in enumerate(observation)] + _actions(action)
    return _draw_cart_pole(*found) + _actions(action)


def _draw_cart_pole(position: float, angle: float) -> list[str]:
    rows = [[" "] * WIDTH for _ in range(HEIGHT)]
    rail = HEIGHT // 2
    rows[rail] = ["-"] * WIDTH
    middle = round((WIDTH - 1) / 2 * (1 + 0.8 * max(-1.2, min(1.2, position))))
    for step in range(1, 4 * int(POLE)):
        length = step / 4 * (rail / POLE)
        column, row = round(middle + ASPECT * length * math.sin(angle)), round(rail - length * math.cos(angle))
        if 0 <= column < WIDTH and 0 <= row < HEIGHT:
            rows[row][column] = "o" if step == 4 * int(POLE) - 1 else "*"
    for column in range(max(0, middle - 2), min(WIDTH, middle + 3)):
        rows[rail][column] = "#"
    return ["".join(row) for row in rows]


def _actions(action: Array) -> list[str]:
    return [_bar(f"a{i}", float(value), 1.0) for i, value in enumerate(action)]


def _bar(name: str, value: float, full: float) -> str:
    """A bar from the middle to the left or right, at most as long as `full` is."""
    half = (WIDTH - 17) // 2
    length = round(half * min(1.0, abs(value) / full))
    left, right = ("", "=" * length) if value > 0 else ("=" * length, "")
    return f"{name:<5} {left:>{half}}|{right:<{half}} {value:+9.3f}"
