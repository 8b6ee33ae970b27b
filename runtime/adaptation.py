"""A world model that corrects itself while it runs, because the plant is never quite the one it was trained on.

Each decision compares what the model had predicted with what was observed, and fits three kinds of constants to the
episode so far: how much of the present action acts (``alpha``; a heavier cart: less), how much of the previous one
(``beta``; a late action: all of it), and for every observation how much of its predicted change happens (``kappa``; a
longer pole: its speed changes less):

    x' = x + kappa * (f(x, alpha a + beta a_previous) - x) + offset

Discrete actions can only be mixed: ``(1 - beta) a + beta a_previous``.

With f taken as affine in the action (mechanical plants are), this is linear in kappa for given alpha and beta and the
other way round, so a few rounds of alternating least squares on running sums fit it; a prior holds the constants at 1,
0 and 1 until the evidence weighs more. What no such constants explain, a collision above all, must not spoil them for
the rest of the episode: a decision weighs less the more it surprises (the L1-L2 weight of robust regression: Zhang,
Parameter estimation techniques, Image and Vision Computing 15, 1997).

What the constants leave of the latest changes is averaged into an offset, which the fit does not have to explain:
without it a model that is a little wrong where the plant rests shows a way back to the goal that nobody has to push
for, and the plant rests beside the goal (offset-free model predictive control: Pannocchia and Rawlings, Disturbance
models for offset-free model-predictive control, AIChE Journal 49, 2003). While the plant moves a remainder is an error
of that motion and gone with it, so the offset learns the less the larger the change.

It is the certainty-equivalent self-tuning control of Astrom and Wittenmark
(Adaptive Control, 2nd edition, chapter 3) around a learned model.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nmbrl.targets.interface import Array, Executor, Segment

# Evidence that outweighs the prior, as a sum over decisions of squared changes of normalised observations.
ACTION_PRIOR = 0.01
CHANGE_PRIOR = 0.02
# Constants outside of these say that the fit is wrong, not the plant.
ACTION_RANGE = (-0.5, 2.0)
CHANGE_RANGE = (0.25, 4.0)
ROUNDS = 4
# Beyond this a surprise (root of summed squares over normalised observations) weighs by its size, not by its square.
SURPRISE = 0.07
# Share of the latest remainder in the offset at rest, and the change (as a surprise) that halves it.
OFFSET_RATE = 0.1
OFFSET_CHANGE = 0.2


@dataclass
class _Parts:
    """The segments of an adapted state, as views; ``model`` is the state of the model itself.

    Attributes:
        previous: action of the last decision (batch, action_size).
        seen: 1 once an observation was folded in, else 0 (batch, 1).
        action: minus the prior, alpha and beta (batch, 2).
        change: minus the prior, kappa (batch, observation_size).
        offset: what the constants leave of the change of a decision, normalised (batch, observation_size).
        products: weighted sums of products of the three features (batch, observation_size, 3, 3).
        targets: weighted sums of features times observed changes (batch, observation_size, 3).
    """

    model: Array
    previous: Array
    seen: Array
    action: Array
    change: Array
    offset: Array
    products: Array
    targets: Array


class AdaptedExecutor(Executor):
    """Any executor, with what it has learned about the plant in this episode as a part of the state.

    A state after `reset` imagines exactly as the model does. Changes are corrected only where the state holds the
    observation itself (``decode`` is an alias); elsewhere kappa stays 1.

    Args:
        executor: what runs the model.
    """

    def __init__(self, executor: Executor) -> None:
        interface = executor.interface
        actions, observations = interface.task.action_size, interface.task.observation_size
        sizes = {
            "previous_action": actions,
            "seen": 1,
            "action_correction": 2,
            "change_correction": observations,
            "offset": observations,
            "feature_products": observations * 9,
            "feature_targets": observations * 3,
        }
        extra = tuple(Segment(name=name, size=size) for name, size in sizes.items())
        adapted = interface.model_copy(update={"state": interface.state + extra})
        super().__init__(executor.target, adapted, executor.macs)
        self._executor = executor
        bounds = np.cumsum([0, interface.state_size, *sizes.values()])
        self._slices = [slice(*bounds[i : i + 2]) for i in range(len(bounds) - 1)]
        self._range = ACTION_RANGE if interface.task.action_kind == "box" else (0.0, 1.0)
        self._observed = _slice_of(executor, interface.aliases.get("decode", {}).get("o"))

    @property
    def counts(self) -> Counter[str]:
        """Those of what runs the model."""
        return self._executor.counts

    def call(self, function: str, inputs: dict[str, Array]) -> dict[str, Array]:
        """Evaluate one core function of the model itself."""
        return self._executor.call(function, inputs)

    def observe(self, state: Array, action: Array, observation: Array) -> Array:
        """See `Executor.observe`; also refits the constants to what `action` did."""
        parts = self._split(state)
        batch, size = observation.shape
        before = np.concatenate([parts.model] * 3)
        actions = np.concatenate([self._base(action), action, self._previous(parts, action)])
        imagined, _, _ = self._executor.imagine(before, actions)
        normalise = self.interface.normalisation.normalise
        base, acted, late = normalise(self._executor.decode(imagined)).reshape(3, batch, size)
        start = normalise(self._executor.decode(parts.model))
        features = np.stack([base - start, acted - base, late - base], axis=-1)
        change = normalise(observation) - start
        surprise = _size(_remainder(parts, features, change))
        trust = parts.seen / np.sqrt(1 + (surprise / np.float32(SURPRISE)) ** 2)
        evidence = trust[..., None] * features
        parts.products = parts.products + evidence[..., :, None] * features[..., None, :]
        parts.targets = parts.targets + evidence * (change - parts.offset)[..., None]
        parts.action, parts.change = self._fit(parts.products, parts.targets)
        rate = np.float32(OFFSET_RATE) * trust / (1 + (_size(change) / np.float32(OFFSET_CHANGE)) ** 2)
        parts.offset = parts.offset + rate * _remainder(parts, features, change)
        parts.model = self._executor.observe(parts.model, self._effective(parts, action), observation)
        parts.previous, parts.seen = action, np.ones_like(parts.seen)
        return self._join(parts)

    def imagine(self, state: Array, action: Array) -> tuple[Array, Array, Array]:
        """See `Executor.imagine`; the step is the corrected one."""
        parts = self._split(state)
        imagined, reward, alive = self._executor.imagine(parts.model, self._effective(parts, action))
        if self._observed is not None:
            changed = (imagined - parts.model)[:, self._observed]
            imagined[:, self._observed] += parts.change * changed + parts.offset
        following = state.copy()
        following[:, self._slices[0]], following[:, self._slices[1]] = imagined, action
        return following, reward, alive

    def act(self, state: Array) -> Array:
        """See `Executor.act`."""
        return self._executor.act(self._split(state).model)

    def value(self, state: Array) -> Array:
        """See `Executor.value`."""
        return self._executor.value(self._split(state).model)

    def decode(self, state: Array) -> Array:
        """See `Executor.decode`."""
        return self._executor.decode(self._split(state).model)

    def keep(self, lanes: NDArray[np.bool_]) -> None:
        """See `Executor.keep`."""
        self._executor.keep(lanes)

    def close(self) -> None:
        """Release what the model's executor holds."""
        self._executor.close()

    def constants(self, state: Array) -> tuple[Array, Array, Array]:
        """Return alpha (batch,), beta (batch,) and kappa (batch, observation_size) as they are fitted in a state."""
        parts = self._split(state)
        return 1 + parts.action[:, 0], parts.action[:, 1], 1 + parts.change

    def _base(self, action: Array) -> Array:
        """What alpha and beta count from: no action at all, or the present one where doing nothing is no choice."""
        return action if self.interface.task.action_kind == "discrete" else np.zeros_like(action)

    def _previous(self, parts: _Parts, action: Array) -> Array:
        """The previous action; where there was none (all zeros, no discrete action), what beta counts from."""
        return np.where(parts.previous.any(axis=1, keepdims=True), parts.previous, self._base(action))

    def _effective(self, parts: _Parts, action: Array) -> Array:
        base = self._base(action)
        alpha, beta = 1 + parts.action[:, :1], parts.action[:, 1:]
        return base + alpha * (action - base) + beta * (self._previous(parts, action) - base)

    def _fit(self, products: Array, targets: Array) -> tuple[Array, Array]:
        """Alternating least squares; returns alpha and beta, and kappa, each minus its prior."""
        kappa = np.ones(targets.shape[:2], np.float32)
        weights = np.ones((len(targets), 3), np.float32)
        for _ in range(ROUNDS):
            square = (kappa**2)[..., None, None] * products[..., 1:, 1:]
            residual = kappa[..., None] * (targets[..., 1:] - kappa[..., None] * products[..., 1:, :2].sum(axis=-1))
            # The prior is at (1, 0): fit what the residual of the whole present action leaves.
            shift = np.linalg.solve(
                square.sum(axis=1) + np.float32(ACTION_PRIOR) * np.eye(2, dtype=np.float32),
                residual.sum(axis=1)[..., None],
            )[..., 0]
            weights[:, 1:] = np.clip(np.array([1.0, 0.0], np.float32) + shift, *self._range)
            if self._observed is None:
                break
            along = np.einsum("bi,boi->bo", weights, targets)
            power = np.einsum("bi,boij,bj->bo", weights, products, weights)
            kappa = np.clip((along + CHANGE_PRIOR) / (power + CHANGE_PRIOR), *CHANGE_RANGE).astype(np.float32)
        return weights[:, 1:] - np.array([1.0, 0.0], np.float32), kappa - 1

    def _split(self, state: Array) -> _Parts:
        model, previous, seen, action, change, offset, products, targets = (state[:, part] for part in self._slices)
        size = self.interface.task.observation_size
        products, targets = products.reshape(-1, size, 3, 3), targets.reshape(-1, size, 3)
        return _Parts(model, previous, seen, action, change, offset, products, targets)

    def _join(self, parts: _Parts) -> Array:
        values = (getattr(parts, name) for name in _Parts.__dataclass_fields__)
        return np.concatenate([value.reshape(len(value), -1) for value in values], axis=1)


def _remainder(parts: _Parts, features: Array, change: Array) -> Array:
    """What constants and offset leave of observed changes (batch, observation_size), given their features (..., 3)."""
    weights = np.concatenate([np.ones_like(parts.seen), 1 + parts.action[:, :1], parts.action[:, 1:]], axis=1)
    return change - (1 + parts.change) * np.einsum("bi,boi->bo", weights, features) - parts.offset


def _size(change: Array) -> Array:
    """Euclidean norm over observations (batch, 1)."""
    return np.linalg.norm(change, axis=1, keepdims=True)


def _slice_of(executor: Executor, name: str | None) -> slice | None:
    """Where a segment lies in the flat state; None where there is no such segment."""
    start = 0
    for segment in executor.interface.state:
        if segment.name == name:
            return slice(start, start + segment.size)
        start += segment.size
    return None
