"""The best return that a search knows how to get from DeepMind Control's cart-pole swing-up, the plant known exactly.

A search through the plant's own equations, which no learned model or value function limits: plans of four pushes by
turns, then the cross-entropy method around the best of them; a linear-quadratic regulator balances the pole after
the plan. It proves no optimum: what it finds is a lower bound of the ceiling, and tells a planner that has nothing left
to gain from one that does.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

from nmbrl.runtime.perturbation import DELAY, make_environment, parse_perturbation

ENV = "dm_control/cartpole-swingup-v0"
FRAME = 0.01
EPISODE = 1000
FORCE, GRAVITY = 10.0, 9.81
SLIDER_DAMPING, HINGE_DAMPING = 5e-4, 2e-6
# The rail ends at 1.8; plans that come near cost this much a metre and frame.
RAIL, RAIL_COST = 1.75, 20.0
# The search: decisions in a plan, those in which it pushes, those balanced afterwards; plans refined, and how.
DECISIONS, PUSHES, BALANCED = 32, 28, 28
REFINED, SAMPLES, ELITES, ITERATIONS = 20, 100, 10, 80
# What the regulator weighs: position, angle, their speeds; action.
STATE_COST, ACTION_COST = np.diag([1.0, 5.0, 0.1, 0.2]), np.array([[0.5]])
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class CartPole:
    """Equations of motion of the cart-pole, with MuJoCo's own constants.

    Attributes:
        cart: mass of the cart, kg.
        pole: mass of the pole, kg.
        arm: from the hinge to the pole's centre of mass, m.
        inertia: of the pole about its centre of mass, kg m^2.
    """

    cart: float
    pole: float
    arm: float
    inertia: float

    def step(self, state: Arrays, action: np.ndarray) -> Arrays:
        """One frame by Runge-Kutta's fourth-order rule, as MuJoCo integrates it.

        Args:
            state: position, angle from upright, and their speeds, each of any one shape.
            action: in [-1, 1], of that shape.
        """
        x, angle, speed, turn = state
        force, half = FORCE * action, FRAME / 2
        a1, b1 = self._accelerations(angle, speed, turn, force)
        speed2, turn2 = speed + half * a1, turn + half * b1
        a2, b2 = self._accelerations(angle + half * turn, speed2, turn2, force)
        speed3, turn3 = speed + half * a2, turn + half * b2
        a3, b3 = self._accelerations(angle + half * turn2, speed3, turn3, force)
        speed4, turn4 = speed + FRAME * a3, turn + FRAME * b3
        a4, b4 = self._accelerations(angle + FRAME * turn3, speed4, turn4, force)
        sixth = FRAME / 6
        return (
            x + sixth * (speed + 2 * speed2 + 2 * speed3 + speed4),
            angle + sixth * (turn + 2 * turn2 + 2 * turn3 + turn4),
            speed + sixth * (a1 + 2 * a2 + 2 * a3 + a4),
            turn + sixth * (b1 + 2 * b2 + 2 * b3 + b4),
        )

    def _accelerations(
        self, angle: np.ndarray, speed: np.ndarray, turn: np.ndarray, force: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lagrange's equations of a cart with a pole on it, solved for both accelerations."""
        sine, lever = np.sin(angle), self.pole * self.arm
        coupling = lever * np.cos(angle)
        mass, inertia = self.cart + self.pole, self.inertia + lever * self.arm
        push = force - SLIDER_DAMPING * speed + lever * sine * turn**2
        torque = lever * GRAVITY * sine - HINGE_DAMPING * turn
        determinant = mass * inertia - coupling**2
        return (push * inertia - torque * coupling) / determinant, (mass * torque - coupling * push) / determinant


def reward(state: Arrays, action: np.ndarray) -> np.ndarray:
    """The task's reward of one frame, in [0, 1] (`dm_control.suite.cartpole.Balance`)."""
    x, angle, _, turn = state
    upright = (1 + np.cos(angle)) / 2
    centred = (1 + 0.1 ** ((x / 2) ** 2)) / 2
    small_control = (5 - action**2) / 5
    small_velocity = (1 + 0.1 ** ((turn / 5) ** 2)) / 2
    return upright * centred * small_control * small_velocity


def measure_plant(change: str) -> CartPole:
    """Read the constants of a changed plant (`parse_perturbation`) from the model that MuJoCo compiled."""
    environment = make_environment(ENV, 1, parse_perturbation(change))
    try:
        model = environment._env.unwrapped.physics.model  # type: ignore[attr-defined]
        masses, centres, inertias = model.body_mass, model.body_ipos, model.body_inertia
        return CartPole(float(masses[1]), float(masses[2]), float(centres[2][2]), float(inertias[2][1]))
    finally:
        environment.close()


def regulate(plant: CartPole, action_repeat: int) -> np.ndarray:
    """Gain (4,) of the linear-quadratic regulator that balances the pole; the action is minus gain times state."""

    def decide(point: np.ndarray) -> np.ndarray:
        state: Arrays = point[0], point[1], point[2], point[3]
        for _ in range(action_repeat):
            state = plant.step(state, point[4])
        return np.stack(state)

    small = 1e-5 * np.eye(5)
    slopes = (decide(small) - decide(-small)) / 2e-5
    a, b = slopes[:, :4], slopes[:, 4:]
    p = STATE_COST
    for _ in range(300):
        gain = np.linalg.solve(ACTION_COST + b.T @ p @ b, b.T @ p @ a)
        p = STATE_COST + a.T @ p @ (a - b @ gain)
    return gain[0]


def returns_of(plant: CartPole, plans: np.ndarray, action_repeat: int, balanced: int = 0) -> np.ndarray:
    """Returns (n,) of whole episodes that begin at rest, hanging, with plans (n, decisions).

    The regulator takes `balanced` decisions more, and the last decision's reward stands for the rest of the episode.
    """
    zero = np.zeros(len(plans))
    state: Arrays = zero, zero + np.pi, zero, zero
    total, cost, last = zero, zero, zero
    gain = regulate(plant, action_repeat)
    for t in range(plans.shape[1] + balanced):
        if t < plans.shape[1]:
            action = plans[:, t]
        else:
            x, angle, *speeds = state
            upright = np.arctan2(np.sin(angle), np.cos(angle))
            action = np.clip(-gain @ np.stack([x, upright, *speeds]), -1, 1)
        last = zero
        for _ in range(action_repeat):
            state = plant.step(state, action)
            last = last + reward(state, action)
            cost = cost + np.maximum(np.abs(state[0]) - RAIL, 0)
        total = total + last
    rest = EPISODE - (plans.shape[1] + balanced) * action_repeat
    return total + last * rest / action_repeat - RAIL_COST * cost


@cache
def find_ceiling(change: str, action_repeat: int) -> tuple[float, np.ndarray]:
    """Search for the best plan on a changed plant.

    Returns:
        Its return, and the plan (decisions,) as it reaches the plant.
    """
    plant = measure_plant(change)
    late = round(parse_perturbation(change).get(DELAY, 0.0))
    random = np.random.default_rng(0)

    def score(plans: np.ndarray) -> np.ndarray:
        plans[:, :late] = 0.0
        # As many at a time as keep their states in the cache.
        chunks = np.array_split(plans, -(-len(plans) // 1000))
        return np.concatenate([returns_of(plant, chunk, action_repeat, BALANCED) for chunk in chunks])

    pushes = _push_plans()
    order = np.argsort(-score(pushes), kind="stable")
    # Neighbours in rank are much alike: take ever wider steps.
    mean = pushes[order[np.arange(REFINED) ** 2 // 2]]
    deviation = np.full_like(mean, 0.3)
    best, scores = mean.copy(), score(mean)
    for iteration in range(ITERATIONS):
        noise = random.standard_normal((REFINED, SAMPLES, DECISIONS))
        correlation = 0.7 if iteration < ITERATIONS // 3 else 0.3
        for t in range(1, DECISIONS):
            noise[:, :, t] = correlation * noise[:, :, t - 1] + np.sqrt(1 - correlation**2) * noise[:, :, t]
        plans = np.clip(mean[:, None] + deviation[:, None] * noise, -1, 1)
        plans[:, 0] = best
        found = score(plans.reshape(-1, DECISIONS)).reshape(REFINED, SAMPLES)
        chosen = np.argsort(-found, axis=1)[:, :ELITES]
        elites = np.take_along_axis(plans, chosen[:, :, None], axis=1)
        best, scores = elites[:, 0], np.take_along_axis(found, chosen, axis=1)[:, 0]
        mean = 0.2 * mean + 0.8 * elites.mean(axis=1)
        deviation = np.maximum(0.3 * deviation + 0.7 * elites.std(axis=1), 0.01)
    winner = int(scores.argmax())
    return float(scores[winner]), best[winner]


def _push_plans() -> np.ndarray:
    """Plans (n, DECISIONS) of four pushes by turns, each full or half, then no force."""
    plans = []
    for *lengths, halves in product(range(1, 9), range(2, 16), range(0, 14, 2), range(0, 9, 3), range(0, 8, 2)):
        if sum(lengths) <= PUSHES:
            forces = [(-1) ** (k + 1) * (0.5 if halves >> k & 1 else 1.0) for k in range(4)]
            pushes = np.repeat(forces, lengths)
            plans.append(np.pad(pushes, (0, DECISIONS - len(pushes))))
    return np.stack(plans)
