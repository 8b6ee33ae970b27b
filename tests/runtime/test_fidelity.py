import numpy as np
import pytest

from nmbrl.runtime.closed_loop import Episode, run_episodes
from nmbrl.runtime.environment import Environment
from nmbrl.runtime.fidelity import ANCHOR_STRIDE, action_error, beliefs, open_loop_error, policy_actions
from nmbrl.runtime.planners import make_planner

from .plants import POINT_MASS, A, PointMassModel, riccati


@pytest.fixture(scope="module")
def episodes():
    environments = [Environment(POINT_MASS) for _ in range(3)]
    return run_episodes(make_planner("policy", PointMassModel()), environments, [0, 1, 2], [False, True, True])


class DriftingModel(PointMassModel):
    """Imagines a constant push that is not there, and a reward that is too high by a half."""

    PUSH = np.array([0.0, 0.01], np.float32)

    def call(self, function, inputs):
        outputs = super().call(function, inputs)
        if function == "imagine":
            outputs = {"x": outputs["x"] + self.PUSH, "r": outputs["r"] + np.float32(0.5)}
        return outputs


def errors(model, episodes, horizon=40):
    return open_loop_error(model, episodes, beliefs(model, episodes), horizon)


def test_beliefs_are_those_of_the_closed_loop(episodes):
    found = beliefs(PointMassModel(), episodes)
    assert [len(states) for states in found] == [len(episode.actions) for episode in episodes]
    for states, episode in zip(found, episodes, strict=True):
        np.testing.assert_array_equal(states, np.stack(episode.observations[:-1]))


def test_the_policy_that_recorded_an_episode_repeats_its_actions(episodes):
    model = PointMassModel()
    actions = policy_actions(model, beliefs(model, episodes))
    np.testing.assert_array_equal(actions, np.concatenate([episode.actions for episode in episodes]))


def test_action_error_of_a_weaker_policy(episodes):
    weaker = PointMassModel(skill=0.5)
    recorded = np.concatenate([episode.actions for episode in episodes])
    error = action_error(policy_actions(weaker, beliefs(weaker, episodes)), recorded, discrete=False)
    seen = np.concatenate([episode.observations[:-1] for episode in episodes])
    wanted = -seen @ riccati()[0].T
    expected = np.abs(np.clip(wanted, -1, 1) - np.clip(0.5 * wanted, -1, 1))
    assert error.mean == pytest.approx(expected.mean(), rel=1e-5)
    assert error.largest == pytest.approx(expected.max(), rel=1e-5)
    assert error.decisions == len(seen)


def test_discrete_action_error_is_the_share_that_differs():
    chosen, reference = np.eye(3)[[0, 1, 2, 0]], np.eye(3)[[0, 2, 2, 1]]
    error = action_error(chosen, reference, discrete=True)
    assert (error.mean, error.largest) == (0.5, 1.0)


def test_an_exact_model_has_no_open_loop_error(episodes):
    error = errors(PointMassModel(), episodes)
    assert error.overall.max() < 1e-5
    assert error.reward.max() < 1e-5


def test_drift_grows_as_the_plant_says(episodes):
    error = errors(DriftingModel(), episodes)
    departed = np.zeros(2)
    for ahead in range(len(error.observation)):
        departed = A @ departed + DriftingModel.PUSH
        np.testing.assert_allclose(error.observation[ahead], np.abs(departed), rtol=1e-3, atol=1e-6)
        assert error.overall[ahead] == pytest.approx(np.sqrt(np.mean(departed**2)), rel=1e-3)
    assert error.reward[0] == pytest.approx(0.5, rel=1e-5)


def test_the_still_prediction_is_how_far_the_plant_moved(episodes):
    error = errors(PointMassModel(), episodes)
    moved = [
        episode.observations[start + 3] - episode.observations[start]
        for episode in episodes
        for start in range(0, len(episode.actions), ANCHOR_STRIDE)
        if start + 3 <= len(episode.actions)
    ]
    np.testing.assert_allclose(error.still[2], np.sqrt(np.mean(np.square(moved), axis=0)), rtol=1e-5)
    assert error.samples[2] == len(moved)


def test_errors_are_in_standard_deviations(episodes):
    model = DriftingModel()
    plain = errors(model, episodes, horizon=5).observation
    scaled = model.interface.normalisation.model_copy(update={"std": (2.0, 0.5)})
    model.interface = model.interface.model_copy(update={"normalisation": scaled})

    # The exact model moves normalised observations, so undo and redo the scaling around it.
    exact = model.call
    std = np.array([2.0, 0.5], np.float32)

    def call(function, inputs):
        outputs = exact(function, {**inputs, "x": inputs["x"] * std})
        return {**outputs, **({"x": outputs["x"] / std} if "x" in outputs else {})}

    model.call = call
    np.testing.assert_allclose(errors(model, episodes, horizon=5).observation, plain / std, rtol=1e-3)


def test_an_episode_shorter_than_the_horizon_ends_its_prediction():
    observations = [np.zeros(2, np.float32)] * 4
    short = Episode(0, False, observations, [np.zeros(1, np.float32)] * 3, [0.0] * 3)
    error = errors(PointMassModel(), [short], horizon=50)
    assert len(error.overall) == len(error.reward) == 3
    assert error.samples.tolist() == [1, 1, 1]
