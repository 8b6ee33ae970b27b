import numpy as np
import pytest

from nmbrl.runtime.adaptation import AdaptedExecutor
from nmbrl.runtime.planners import make_planner

from .plants import DISCOUNT, A, B, ChainModel, PointMassModel, Q, R, riccati

LANES = 3


def live_with(model, gain, late, damping, steps=40):
    """Observations of the point mass whose force is `gain` a + `late` a_previous and whose speed changes by `damping`.

    Returns the adapted state after `steps` random actions, the last observation and the last action.
    """
    random = np.random.default_rng(2)
    x, previous = random.uniform(-0.5, 0.5, (LANES, 2)), np.zeros((LANES, 1))
    state = model.reset(LANES)
    state = model.observe(state, np.zeros((LANES, 1), np.float32), x.astype(np.float32))
    for _ in range(steps):
        action = random.uniform(-1, 1, (LANES, 1)).astype(np.float32)
        x = plant(x, action, previous, gain, late, damping)
        state = model.observe(state, action, x.astype(np.float32))
        previous = action
    return state, x, previous


def plant(x, action, previous, gain, late, damping):
    change = x @ A.T + (gain * action + late * previous) @ B.T - x
    change[:, 1] *= damping
    return x + change


@pytest.mark.parametrize(
    ("gain", "late", "damping"), [(1.0, 0.0, 1.0), (0.6, 0.0, 1.0), (0.0, 1.0, 1.0), (0.5, 0.5, 1.0)]
)
def test_the_changed_action_is_identified(gain, late, damping):
    model = AdaptedExecutor(PointMassModel())
    state, *_ = live_with(model, gain, late, damping)
    alpha, beta, kappa = model.constants(state)
    np.testing.assert_allclose(alpha, gain, atol=0.02)
    np.testing.assert_allclose(beta, late, atol=0.02)
    np.testing.assert_allclose(kappa, 1.0, atol=0.02)


@pytest.mark.parametrize("change", [(1.0, 0.0, 1.0), (0.6, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 0.0, 0.7)])
def test_imagination_then_follows_the_changed_plant(change):
    model, plain = AdaptedExecutor(PointMassModel()), PointMassModel()
    state, x, previous = live_with(model, *change)
    imagined, errors, plain_state = state, [], x.astype(np.float32)
    for action in np.random.default_rng(5).uniform(-1, 1, (5, LANES, 1)).astype(np.float32):
        x, previous = plant(x, action, previous, *change), action
        imagined, reward, alive = model.imagine(imagined, action)
        plain_state, *_ = plain.imagine(plain_state, action)
        errors.append([np.abs(model.decode(imagined) - x).max(), np.abs(plain_state - x).max()])
        assert reward.shape == alive.shape == (LANES,)
    adapted, unadapted = np.array(errors).max(axis=0)
    assert adapted < 0.03
    assert change == (1.0, 0.0, 1.0) or unadapted > 5 * adapted


def test_collisions_do_not_spoil_the_constants():
    model = AdaptedExecutor(PointMassModel())
    random, none = np.random.default_rng(3), np.zeros((LANES, 1), np.float32)
    x = random.uniform(-0.3, 0.3, (LANES, 2))
    state = model.observe(model.reset(LANES), none, x.astype(np.float32))
    for step in range(40):
        action = random.uniform(-1, 1, (LANES, 1)).astype(np.float32)
        x = plant(x, action, none, 0.6, 0.0, 1.0)
        if step in (12, 13, 25):
            x[:, 1] = -x[:, 1] - np.sign(x[:, 1])
        state = model.observe(state, action, x.astype(np.float32))
    # Plain least squares, without weights, ends at alphas from -0.5 to 1.05.
    for fitted, true in zip(model.constants(state), (0.6, 0.0, 1.0), strict=True):
        np.testing.assert_allclose(fitted, true, atol=0.05)


def test_imagination_follows_a_constant_push_that_the_model_knows_nothing_of():
    model = AdaptedExecutor(PointMassModel())
    push, none, random = np.array([0.0, 0.05]), np.zeros((LANES, 1), np.float32), np.random.default_rng(4)
    x = random.uniform(-0.5, 0.5, (LANES, 2))
    state = model.observe(model.reset(LANES), none, x.astype(np.float32))
    for _ in range(60):
        action = (random.uniform(-0.3, 0.3, (LANES, 1)) - x @ riccati()[0].T).astype(np.float32)
        x = plant(x, action, none, 1.0, 0.0, 1.0) + push
        state = model.observe(state, action, x.astype(np.float32))
    imagined = state
    for _ in range(8):
        x = plant(x, none, none, 1.0, 0.0, 1.0) + push
        imagined, *_ = model.imagine(imagined, none)
    # Without the offset the speed would be wrong by eight pushes.
    np.testing.assert_allclose(model.decode(imagined), x, atol=0.25 * 8 * push[1])


def test_late_discrete_actions_are_identified():
    plant, model = ChainModel(), AdaptedExecutor(ChainModel())
    random = np.random.default_rng(1)
    actions = np.eye(3, dtype=np.float32)[random.integers(3, size=(40, LANES))]
    x, none = random.uniform(-1, 1, (LANES, 1)).astype(np.float32), np.zeros((LANES, 3), np.float32)
    state = model.observe(model.reset(LANES), none, x)
    for late, action in zip([actions[0], *actions], actions, strict=False):
        x, *_ = plant.imagine(x, late)
        state = model.observe(state, action, x)
    alpha, beta, kappa = model.constants(state)
    np.testing.assert_allclose(beta, 1.0, atol=0.01)
    np.testing.assert_allclose(alpha, 1.0)
    np.testing.assert_allclose(kappa, 1.0, atol=0.05)
    imagined, *_ = model.imagine(state, actions[0])
    expected, *_ = plant.imagine(x, actions[-1])
    np.testing.assert_allclose(model.decode(imagined), expected, atol=0.03)


def test_before_any_evidence_it_is_the_model_itself():
    model, plain = AdaptedExecutor(PointMassModel(skill=0.5)), PointMassModel(skill=0.5)
    observation = np.random.default_rng(0).normal(size=(LANES, 2)).astype(np.float32)
    action = np.full((LANES, 1), 0.3, np.float32)
    state = model.observe(model.reset(LANES), np.zeros((LANES, 1), np.float32), observation)
    expected, expected_reward, _ = plain.imagine(observation, action)
    imagined, reward, _ = model.imagine(state, action)
    np.testing.assert_allclose(model.decode(imagined), expected, rtol=1e-6)
    np.testing.assert_array_equal(reward, expected_reward)
    np.testing.assert_array_equal(model.act(state), plain.act(observation))
    np.testing.assert_array_equal(model.value(state), plain.value(observation))


def test_it_costs_three_imagined_steps_a_decision():
    inner = PointMassModel()
    model = AdaptedExecutor(inner)
    state = model.observe(model.reset(2), np.zeros((2, 1), np.float32), np.zeros((2, 2), np.float32))
    assert model.counts == inner.counts == {"imagine": 6}
    model.imagine(state, np.zeros((2, 1), np.float32))
    assert inner.counts == {"imagine": 8}


def late_optimum(x):
    """Least discounted cost from x (2,) where actions act a decision late: a regulator of [position, speed, action]."""
    a, b = np.zeros((3, 3)), np.array([[0.0], [0.0], [1.0]])
    a[:2, :2], a[:2, 2:] = A, B
    q = np.zeros((3, 3))
    q[:2, :2] = Q
    p = q
    for _ in range(500):
        k = np.linalg.solve(R + DISCOUNT * b.T @ p @ b, DISCOUNT * b.T @ p @ a)
        p = q + DISCOUNT * a.T @ p @ (a - b @ k)
    return x @ p[:2, :2] @ x


@pytest.mark.parametrize("name", ["cem", "mppi"])
def test_a_search_that_adapts_comes_near_the_optimum_for_late_actions(name):
    starts = np.array([[0.5, 0.3], [-0.4, -0.4], [0.3, -0.5], [-0.1, 0.5]])

    def cost(adapt):
        planner = make_planner(name, PointMassModel(), adapt=adapt, margin=0.0)
        model = planner.executor
        planner.reset(range(4))
        x, previous, total = starts, np.zeros((4, 1)), 0.0
        state, action = model.reset(4), np.zeros((4, 1), np.float32)
        for t in range(40):
            state = model.observe(state, action, x.astype(np.float32))
            previous, action = action, planner.decide(state)
            total += DISCOUNT**t * (np.einsum("bi,ij,bj->", x, Q, x) + (action**2 * R).sum())
            x = plant(x, action, previous, 0.0, 1.0, 1.0)
        return total

    optimum = sum(late_optimum(start) for start in starts)
    adapted, plain = cost(adapt=True) - optimum, cost(adapt=False) - optimum
    # Some of the excess is what it takes to notice, and that the force is limited.
    assert 0 <= adapted < 0.75 * plain
