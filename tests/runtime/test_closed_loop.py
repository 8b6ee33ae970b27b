import numpy as np
import pytest

from nmbrl.runtime.closed_loop import run_episodes, time_decisions
from nmbrl.runtime.environment import Environment
from nmbrl.runtime.evaluation import confidence_interval, evaluate
from nmbrl.runtime.planners import make_planner
from nmbrl.targets.errors import NmbrlError

from .plants import POINT_MASS, A, B, PointMassModel, Q, R, riccati


def expected_return(seed, skill, repeat=1):
    """The point mass under its policy, integrated here by the formulas alone."""
    s, total = np.random.default_rng(seed).uniform(-0.5, 0.5, 2), 0.0
    for step in range(40):
        if step % repeat == 0:
            a = np.clip(-skill * riccati()[0][0] @ s, -1, 1)[None]
        total -= s @ Q @ s + a @ R @ a
        s = A @ s + B @ a
    return total


@pytest.mark.parametrize("repeat", [1, 4])
def test_returns_are_those_of_the_integrated_plant(repeat):
    model = PointMassModel(skill=0.7, action_repeat=repeat)
    environments = [Environment(POINT_MASS, repeat) for _ in range(3)]
    episodes = run_episodes(make_planner("policy", model), environments, [4, 5, 6], [False] * 3)
    for seed, episode in zip([4, 5, 6], episodes, strict=True):
        assert episode.total == pytest.approx(expected_return(seed, 0.7, repeat), rel=1e-4)
        assert (episode.frames, len(episode.actions), len(episode.observations)) == (40, 40 // repeat, 40 // repeat + 1)
        assert not episode.terminated


def test_lanes_that_end_early_leave_the_others_as_they_are():
    def run(seeds):
        environments = [Environment(POINT_MASS, ends_outside=True) for _ in seeds]
        planner = make_planner("cem", PointMassModel(skill=-0.4), samples=16, horizon=2, elites=4, iterations=1)
        return run_episodes(planner, environments, seeds, [seed % 2 == 0 for seed in seeds])

    def run_policy(seeds):
        environments = [Environment(POINT_MASS, ends_outside=True) for _ in seeds]
        return run_episodes(
            make_planner("policy", PointMassModel(skill=-0.4)), environments, seeds, [False] * len(seeds)
        )

    together = run_policy(range(6))
    assert len({len(episode.actions) for episode in together}) > 1 and any(e.terminated for e in together)
    for runner in (run_policy, run):
        for seed, episode in enumerate(runner(range(6))):
            alone = runner([seed])[0]
            np.testing.assert_array_equal(episode.observations, alone.observations)
            np.testing.assert_array_equal(episode.actions, alone.actions)
            assert episode.rewards == alone.rewards and episode.frames == alone.frames


def test_a_varied_start_is_scored_over_the_rest():
    planner = make_planner("policy", PointMassModel())
    native, varied = run_episodes(planner, [Environment(POINT_MASS) for _ in range(2)], [3, 3], [False, True])
    assert native.frames == len(native.rewards) == 40
    assert varied.frames == len(varied.rewards) < 40
    assert not np.array_equal(native.observations[0], varied.observations[0])


def test_an_action_that_is_not_a_number_is_an_error():
    model = PointMassModel(skill=float("nan"))
    with pytest.raises(NmbrlError, match="not a finite number at decision 0"):
        run_episodes(make_planner("policy", model), [Environment(POINT_MASS)], [0], [False])


def test_timing_measures_single_decisions_over_as_many_episodes_as_it_takes():
    model = PointMassModel()
    milliseconds = time_decisions(make_planner("policy", model), Environment(POINT_MASS), seed=0, decisions=60)
    assert milliseconds.shape == (60,) and (milliseconds > 0).all()
    assert model.counts["act"] == 65


def test_evaluation_reports_what_the_design_lists():
    result = evaluate(PointMassModel(), episodes=3, seed=7).to_json()
    assert result["returns"] == pytest.approx([expected_return(7 + 1000 * k, 1.0) for k in range(3)], rel=1e-4)
    assert result["mean_return"] == pytest.approx(np.mean(result["returns"]))
    assert result["mean_return_varied"] == pytest.approx(np.mean(result["returns_varied"]))
    assert (result["target"], result["planner"], result["env"], result["seed"]) == ("exact", "policy", POINT_MASS, 7)
    assert result["episodes"] == 3 and 3 * 40 < result["frames"] <= 6 * 40
    assert result["decision_ms"]["median"] <= result["decision_ms"]["p95"] <= result["decision_ms"]["max"]
    assert result["counts_per_decision"] == {"act": 1.0}
    assert {"nmbrl", "numpy", "python"} <= set(result["versions"])


def test_more_episodes_than_lanes_are_run_in_turns(monkeypatch):
    whole = evaluate(PointMassModel(), episodes=5).to_json()
    monkeypatch.setattr("nmbrl.runtime.evaluation.LANES", 3)
    parts = evaluate(PointMassModel(), episodes=5).to_json()
    assert parts["returns"] == whole["returns"] and parts["returns_varied"] == whole["returns_varied"]


def test_another_environment_must_have_the_same_spaces():
    with pytest.raises(
        NmbrlError, match=r"Pendulum-v1 does not fit the model: observation_size is 3, the model's is 2"
    ):
        evaluate(PointMassModel(), env="Pendulum-v1", episodes=1)


def test_the_interval_agrees_with_the_normal_approximation():
    returns = np.random.default_rng(3).normal(100, 10, 400)
    low, high = confidence_interval(returns)
    half = 1.96 * returns.std() / np.sqrt(400)
    assert low == pytest.approx(returns.mean() - half, abs=0.15) and high == pytest.approx(
        returns.mean() + half, abs=0.15
    )
    assert confidence_interval(np.array([5.0, 5.0])) == [5.0, 5.0]
