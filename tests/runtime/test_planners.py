import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmbrl.runtime.planners import CEM, MPPI, PLANNERS, PlannerOptions, Shooting, make_planner
from nmbrl.runtime.planners.distributions import CategoricalPlans, GaussianPlans
from nmbrl.runtime.planners.imagination import imagine_plans
from nmbrl.targets.errors import NmbrlError

from .plants import DISCOUNT, A, B, ChainModel, PointMassModel, Q, R, riccati

SEARCHES = ["cem", "mppi"]
STATES = np.array([[0.3, -0.2], [-0.5, 0.4], [0.1, 0.1], [0.0, -0.6]], np.float32)


def chain_score(model, state, actions):
    """The score of one discrete sequence, one sample and one step at a time, as its definition reads."""
    score, alive = 0.0, 1.0
    for t, action in enumerate(actions):
        state, reward, alive_next = model.imagine(state, np.eye(3, dtype=np.float32)[[action]])
        score += 0.9**t * alive * float(reward[0])
        alive *= float(alive_next[0])
    return score + 0.9 ** len(actions) * alive * float(model.value(state)[0])


def test_scores_are_discounted_rewards_times_survival_plus_value():
    model = ChainModel()
    states = np.array([[0.2], [-0.9]], np.float32)
    sequences = list(itertools.product(range(3), repeat=3))
    plans = np.eye(3, dtype=np.float32)[np.array([sequences, sequences])]
    taken, scores = imagine_plans(model, states, plans)
    expected = [[chain_score(model, states[[lane]], sequence) for sequence in sequences] for lane in range(2)]
    np.testing.assert_array_equal(taken, plans)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_guided_decisions_are_the_policys_with_the_deviation_added():
    model = PointMassModel(skill=0.5)
    noise = np.zeros((1, 2, 3, 1), np.float32)
    noise[0, :, :, 0] = [[0.0, 0.2, 9.0], [0.7, 0.0, 0.1]]
    guided = np.array([[True, True, True], [False, True, True]])
    taken, _ = imagine_plans(model, STATES[:1], noise, guided)
    gain = 0.5 * riccati()[0][0]
    for sample, first_is_policys in enumerate([True, False]):
        s = STATES[0].astype(float)
        for t in range(3):
            deviation = noise[0, sample, t, 0]
            action = deviation if t == 0 and not first_is_policys else np.clip(-gain @ s + deviation, -1, 1)
            assert taken[0, sample, t, 0] == pytest.approx(action, abs=1e-6)
            s = A @ s + B[:, 0] * action


@pytest.mark.parametrize("name", SEARCHES)
def test_search_finds_the_linear_quadratic_optimum_without_a_policy(name):
    planner = make_planner(
        name, PointMassModel(skill=0.0), adapt=False, horizon=6, iterations=6, samples=128, margin=0.0, deviation=0.0
    )
    planner.reset(range(len(STATES)))
    best = np.clip(-STATES @ riccati()[0].T, -1, 1)
    np.testing.assert_allclose(planner.decide(STATES), best, atol=0.08)


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("deviation", [0.0, 0.3])
@pytest.mark.parametrize("skill", [1.0, 0.2, -0.3])
def test_search_on_an_exact_model_loses_nothing_to_the_policy(name, skill, deviation):
    def closed_loop_cost(planner):
        state, total = STATES.copy(), np.zeros(len(STATES))
        planner.reset(range(len(STATES)))
        for t in range(30):
            action = planner.decide(state)
            cost = np.einsum("bi,ij,bj->b", state, Q, state) + np.einsum("bi,ij,bj->b", action, R, action)
            total += DISCOUNT**t * cost
            state = (state @ A.T + action @ B.T).astype(np.float32)
        return total.mean()

    model = PointMassModel(skill)
    policy, search = (
        closed_loop_cost(make_planner("policy", model)),
        closed_loop_cost(make_planner(name, model, adapt=False, margin=0.0, deviation=deviation)),
    )
    optimum = np.einsum("bi,ij,bj->b", STATES, riccati()[1], STATES).mean()
    assert search <= policy * 1.0005
    assert search <= optimum * 1.05
    if skill != 1.0:
        assert policy > optimum * 1.2


@pytest.mark.parametrize("name", PLANNERS)
def test_lanes_do_not_depend_on_the_lanes_beside_them(name):
    model = PointMassModel(skill=0.4)
    together = make_planner(name, model, adapt=False)
    together.reset([5, 6, 7, 8])
    state = STATES
    decided = []
    for _ in range(3):
        decided.append(together.decide(state))
        state = (state + 0.1).astype(np.float32)
    for lane, seed in enumerate([5, 6, 7, 8]):
        alone = make_planner(name, model, adapt=False)
        alone.reset([seed])
        state = STATES[[lane]]
        for step in range(3):
            np.testing.assert_array_equal(alone.decide(state)[0], decided[step][lane])
            state = (state + 0.1).astype(np.float32)


@pytest.mark.parametrize("name", PLANNERS)
def test_kept_lanes_go_on_as_if_the_others_had_stayed(name):
    model = PointMassModel(skill=0.4)
    kept = np.array([True, False, False, True])
    whole, some = make_planner(name, model, adapt=False), make_planner(name, model, adapt=False)
    for planner in (whole, some):
        planner.reset([1, 2, 3, 4])
        planner.decide(STATES)
    some.keep(kept)
    np.testing.assert_array_equal(some.decide(STATES[kept]), whole.decide(STATES)[kept])


@pytest.mark.parametrize("name", SEARCHES)
def test_discrete_search_finds_the_best_of_all_sequences(name):
    model = ChainModel()
    states = np.linspace(-1, 1, 9, dtype=np.float32)[:, None]
    planner = make_planner(name, model, adapt=False, horizon=4, iterations=4, samples=96, elites=12)
    planner.reset(range(len(states)))
    actions = planner.decide(states)
    assert (actions.sum(axis=1) == 1).all() and set(actions.ravel()) == {0.0, 1.0}
    sequences = list(itertools.product(range(3), repeat=4))
    hits = 0
    for lane, state in enumerate(states):
        scores = [chain_score(model, state[None], sequence) for sequence in sequences]
        chosen = max(score for score, s in zip(scores, sequences, strict=True) if s[0] == actions[lane].argmax())
        hits += chosen >= max(scores) - 1e-6
    assert hits >= 8


def test_shooting_takes_the_best_of_its_draws():
    model = PointMassModel()
    planner = Shooting(model, PlannerOptions(samples=32, horizon=3))
    planner.reset([9])
    draws = np.random.default_rng(9).uniform(-1, 1, (32, 3, 1))
    p = riccati()[1]

    def score(plan):
        s, total = STATES[0].astype(float), 0.0
        for t, a in enumerate(plan):
            total -= DISCOUNT**t * (s @ Q @ s + a @ R @ a)
            s = A @ s + B @ a
        return total - DISCOUNT**3 * s @ p @ s

    best = max(draws, key=score)
    np.testing.assert_allclose(planner.decide(STATES[:1])[0], best[0], rtol=1e-6)


def test_weights_of_elites():
    scores = np.array([[3.0, 2.0, 1.0], [7.0, 7.0, 7.0]], np.float32)
    np.testing.assert_allclose(CEM(PointMassModel()).weigh(scores), np.full((2, 3), 1 / 3), rtol=1e-6)
    weights = MPPI(PointMassModel(), PlannerOptions(temperature=0.5)).weigh(scores)
    spread = np.sqrt(2 / 3)
    expected = np.exp([0, -1 / (0.5 * spread), -2 / (0.5 * spread)])
    np.testing.assert_allclose(weights[0], expected / expected.sum(), rtol=1e-5)
    np.testing.assert_allclose(weights[1], 1 / 3, rtol=1e-6)


def test_gaussian_noise_has_unit_variance_and_the_given_correlation():
    options = PlannerOptions(horizon=5, correlation=0.7, std_start=1.0)
    plans = GaussianPlans(PointMassModel().interface.task, options)
    noise = plans.policy_noise([np.random.default_rng(0)], 40_000)[0, :, :, 0]
    np.testing.assert_allclose(noise.std(axis=0), 1.0, atol=0.02)
    lag = [np.corrcoef(noise[:, t], noise[:, t + 1])[0, 1] for t in range(4)]
    np.testing.assert_allclose(lag, 0.7, atol=0.02)


def test_gaussian_fit_is_the_weighted_mean_and_deviation():
    plans = GaussianPlans(PointMassModel().interface.task, PlannerOptions(horizon=1, std_floor=0.05))
    plans.fit(np.array([0.0, 1.0], np.float32).reshape(1, 2, 1, 1), np.array([[0.25, 0.75]], np.float32))
    assert plans.mode().item() == pytest.approx(0.75)
    assert plans.std.item() == pytest.approx(np.sqrt(0.1875))
    plans.fit(np.ones((1, 2, 1, 1), np.float32), np.array([[0.5, 0.5]], np.float32))
    assert plans.std.item() == pytest.approx(0.05)


def test_categorical_samples_follow_the_fitted_frequencies():
    plans = CategoricalPlans(ChainModel().interface.task, PlannerOptions(horizon=1, std_floor=0.3))
    elites = np.eye(3, dtype=np.float32)[[0, 0, 0, 2]].reshape(1, 4, 1, 3)
    plans.fit(elites, np.full((1, 4), 0.25, np.float32))
    frequency = plans.sample([np.random.default_rng(1)], 40_000)[0, :, 0].mean(axis=0)
    np.testing.assert_allclose(frequency, [0.7 * 0.75 + 0.1, 0.1, 0.7 * 0.25 + 0.1], atol=0.01)


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(list(PLANNERS)),
    discrete=st.booleans(),
    lanes=st.integers(1, 4),
    samples=st.integers(6, 24),
    horizon=st.integers(1, 5),
    iterations=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_actions_are_valid_whatever_the_sizes(name, discrete, lanes, samples, horizon, iterations, seed):
    model = ChainModel() if discrete else PointMassModel()
    sizes = {"samples": samples, "horizon": horizon, "iterations": iterations, "elites": 3, "policy_samples": 3}
    planner = make_planner(name, model, adapt=False, **sizes)
    planner.reset(range(seed, seed + lanes))
    state = np.random.default_rng(seed).normal(size=(lanes, model.interface.state_size)).astype(np.float32)
    for _ in range(2):
        action = planner.decide(state)
        assert action.shape == (lanes, model.interface.task.action_size) and action.dtype == np.float32
        np.testing.assert_array_equal(model.project_action(action), action)


@pytest.mark.parametrize("name", SEARCHES)
def test_deviations_are_added_to_the_policy_in_every_imagined_state(name):
    gain = 0.5 * riccati()[0][0]
    model = PointMassModel(skill=0.5)
    planner = make_planner(name, model, adapt=False, margin=0.0, deviation=0.05)
    planner.reset([3])
    action = planner.decide(STATES[:1])
    deviations = planner._last[0, :, 0]
    assert np.abs(deviations).max() > 0.01
    assert action.item() == pytest.approx(-gain @ STATES[0] + deviations[0], abs=1e-6)

    def score(added):
        s, total = STATES[0].astype(float), 0.0
        for t, more in enumerate(added):
            a = np.clip(-gain @ s + more, -1, 1)
            total -= DISCOUNT**t * (s @ Q @ s + 0.1 * a * a)
            s = A @ s + B[:, 0] * a
        return total - DISCOUNT ** len(added) * s @ riccati()[1] @ s

    assert score(deviations) > score(np.zeros(8))


@pytest.mark.parametrize(("deviation", "guided"), [(0.0, 8 * 8 + 1), (0.1, (3 * 64 + 1) * 8)])
def test_a_search_spends_what_its_options_say(deviation, guided):
    model = PointMassModel()
    planner = make_planner(
        "cem", model, adapt=False, samples=64, horizon=8, iterations=3, policy_samples=8, deviation=deviation
    )
    planner.reset([0])
    planner.decide(STATES[:1])
    model.counts.clear()
    planner.decide(STATES[:1])
    # Three iterations and the verdict on the final plan. The policy takes 8 plans and the end of the shifted one, or
    # part in every plan.
    assert model.counts == {"imagine": (3 * 64 + 1) * 8, "act": guided, "value": 3 * 64 + 1}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cma", {}, "there is no planner 'cma'; choose from policy, cem"),
        ("cem", {"samples": 2}, "samples"),
        ("cem", {"horizon": 0}, "horizon"),
        ("cem", {"deviation": -0.1}, "deviation"),
        ("cem", {"depth": 3}, "depth"),
        ("mppi", {"temperature": 0.0}, "temperature"),
        ("cem", {"samples": 16, "elites": 20}, "20 elites of 16 samples"),
        ("cem", {"samples": 8, "elites": 2, "policy_samples": 8}, "8 policy samples leave nothing"),
    ],
)
def test_wrong_options_are_one_clear_line(name, options, message):
    with pytest.raises(NmbrlError, match=message) as caught:
        make_planner(name, PointMassModel(), **options)
    assert "\n" not in str(caught.value)
