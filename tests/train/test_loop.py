import json

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nmbrl.runtime.environment import Environment
from nmbrl.targets import load
from nmbrl.targets.errors import NmbrlError
from nmbrl.train.collect import Collector, stream
from nmbrl.train.evaluator import Evaluator, ProcessEvaluator, Score
from nmbrl.train.learner import Learner
from nmbrl.train.loop import train
from nmbrl.train.replay import Replay
from nmbrl.train.run import METRICS, MODEL, RunDirectory, open_run
from nmbrl.train.scales import measure

from .conftest import tiny


def collect(env: str, rounds: int = 3, **changes) -> tuple[Replay, list]:
    config = tiny(env=env, **{"seed": 3, "longest_episode": 99, "terminates": True} | changes)
    environments = [Environment(env) for _ in range(2)]
    task = environments[0].task
    replay = Replay(task.observation_size, task.action_size, 10**6)
    collector = Collector(config, environments, replay)
    return replay, [collector.play(index, None, lambda decisions, returns: None) for index in range(rounds)]


def test_rounds_fill_the_replay():
    replay, rounds = collect("Corridor-v0")
    assert replay.decisions == sum(played.frames for played in rounds) == -sum(sum(p.returns) for p in rounds)
    assert len(replay.closed) == 6
    for stretch in replay.closed:
        arrays = stretch.arrays()
        # Observation: whether it is beyond the left wall (one-hot), and where it is, twice.
        assert arrays["o"].shape == (stretch.length + 1, 4)
        np.testing.assert_allclose(np.diff(arrays["o"][:, 2]), 0.25 * (arrays["a"].argmax(1) - 1), atol=1e-6)
        assert stretch.ended == (arrays["o"][-1, 2] > 2.5)
    assert any(s.ended for s in replay.closed) and not all(s.ended for s in replay.closed)


def test_the_same_seed_gives_the_same_episodes():
    one, again, other = (collect("Corridor-v0", seed=seed)[0] for seed in (3, 3, 4))
    assert [s.arrays()["o"].tolist() for s in one.closed] == [s.arrays()["o"].tolist() for s in again.closed]
    assert [s.arrays()["o"].tolist() for s in one.closed] != [s.arrays()["o"].tolist() for s in other.closed]


def test_a_round_depends_on_nothing_before_it():
    environments = [Environment("dm_control/cartpole-swingup-v0", 5)]
    played = []
    for first in (0, 2):
        replay = Replay(5, 1, 10**6)
        collector = Collector(tiny(longest_episode=20), environments, replay)
        for index in range(first, 3):
            collector.play(index, None, lambda decisions, returns: None)
        played.append(replay.closed[-1].arrays()["o"])
    np.testing.assert_array_equal(*played)


def test_decisions_that_are_not_finite_are_dropped():
    replay, rounds = collect("BrokenCorridor-v0")
    assert [played.dropped for played in rounds] == [6, 6, 6]
    assert all(np.isfinite(array).all() for s in replay.closed for array in s.arrays().values())
    # Observations 4, 5 and 9 are missing: 0 to 3, 6 to 8, and 10 to the end remain, each a stretch of its own.
    assert [s.length for s in replay.closed[:2]] == [3, 3]
    assert sum(s.first for s in replay.closed) == 6


def test_an_end_that_cannot_be_is_said():
    with pytest.raises(NmbrlError, match="Corridor-v0 ended an episode in a terminal state: --set terminates=true"):
        collect("Corridor-v0", terminates=False, rounds=9)


def test_random_episodes_have_a_length_of_their_own():
    replay, _ = collect("dm_control/cartpole-swingup-v0", terminates=False, longest_episode=9, longest_random_episode=4)
    assert [stretch.length for stretch in replay.closed] == [4] * 6
    environment = Environment("dm_control/cartpole-swingup-v0")
    config = tiny(longest_episode=9, longest_random_episode=4)
    learner = Learner(config.learner, environment.task, seed=0)
    learner.set_scales(measure([np.eye(5, dtype=np.float32)], [np.ones(4, np.float32)], 1))
    Collector(config, [environment], replay).play(0, learner, lambda decisions, returns: None)
    assert replay.closed[-1].length == 9


def test_random_actions_dwell():
    replay, _ = collect("Pendulum-v1", rounds=20)
    actions = np.concatenate([stretch.arrays()["a"] for stretch in replay.closed])
    assert np.abs(actions).max() <= 1
    inside = np.concatenate([s.arrays()["a"] for s in replay.closed[:20]])[:, 0]
    assert 0.6 < np.corrcoef(inside[:-1], inside[1:])[0, 1] < 0.9


def test_streams_are_apart():
    draws = {stream(*counts).integers(2**62) for counts in [(0, 0), (0, 1), (1, 0), (0, 0, 0), (0, 0, 1), (0, 1, 1)]}
    assert len(draws) >= 5


@pytest.mark.parametrize("env", ["Corridor-v0", "BrokenCorridor-v0"])
def test_dict_observations_and_discrete_actions_train(env, tmp_path):
    learner = {"hidden_size": 8, "width": 8, "batch_size": 4, "sequence_length": 3, "starts": 8, "horizon": 3}
    train(tiny(env=env, terminates=True, longest_episode=30, frames=300, learner=learner), tmp_path / "run")
    executor = load(tmp_path / "run")
    assert executor.interface.terminates
    assert executor.interface.task.action_kind == "discrete"
    state, _, going_on = executor.imagine(executor.reset(1), np.eye(3, dtype=np.float32)[:1])
    assert np.isfinite(state).all() and 0 <= going_on[0] <= 1
    lines = [json.loads(line) for line in (tmp_path / "run" / METRICS).read_text().splitlines()]
    dropped = [line["dropped"] for line in lines if line["kind"] == "training"]
    assert (dropped[-1] > 0) == (env == "BrokenCorridor-v0")


@pytest.mark.parametrize("env", ["Pendulum-v1", "Corridor-v0"])
def test_a_planner_collects(env, tmp_path):
    options = {"samples": 6, "elites": 2, "policy_samples": 2, "horizon": 2, "iterations": 1}
    config = tiny(env=env, terminates=env == "Corridor-v0", frames=60, planner="cem", planner_options=options)
    train(config, tmp_path / "planned")
    train(config.model_copy(update={"planner": "policy"}), tmp_path / "plain")
    planned, plain = (RunDirectory(tmp_path / name).read_chunks(3) for name in ("planned", "plain"))
    # The random rounds are the same, what was planned differs and is still a valid action.
    assert all((a.arrays()["a"] == b.arrays()["a"]).all() for a, b in zip(planned[:4], plain[:4], strict=True))
    actions = [[stretch.arrays()["a"] for stretch in stretches[4:]] for stretches in (planned, plain)]
    assert any(a.shape != b.shape or (a != b).any() for a, b in zip(*actions, strict=True))
    for action in actions[0]:
        assert np.abs(action).max() <= 1
        assert env == "Pendulum-v1" or (np.sort(action) == [0, 0, 1]).all()


def test_the_best_policy_is_kept(tmp_path, monkeypatch):
    scores = iter([3.0, 9.0, 5.0, 9.0])
    submitted: list[bytes] = []
    monkeypatch.setattr(Evaluator, "submit", lambda self, model: submitted.append(model))
    monkeypatch.setattr(Evaluator, "result", lambda self: Score(native=(value := next(scores),), varied=(value,)))
    counters = train(tiny(), tmp_path / "run")
    assert len(set(submitted)) == 4
    assert counters.best == 9.0 and counters.last == 9.0
    assert (tmp_path / "run" / MODEL).read_bytes() == submitted[1]


def test_a_second_process_scores_as_this_one_does(tmp_path):
    config = tiny(evaluation={"interval": 20, "episodes": 2, "process": True})
    train(config, tmp_path / "run")
    model = (tmp_path / "run" / MODEL).read_bytes()
    here, beside = Evaluator(config), ProcessEvaluator(config)
    try:
        for evaluator in (here, beside):
            evaluator.submit(model)
        assert here.result() == beside.result()
        assert here.result().native != here.result().varied
        beside.submit(b"nothing")
        with pytest.raises(NmbrlError, match="the model under evaluation is damaged"):
            beside.result()
        beside._process.kill()
        beside._process.wait()
        with pytest.raises(NmbrlError, match="evaluation failed: its process ended"):
            beside.submit(model)
    finally:
        here.close()
        beside.close()


def test_evaluation_episodes_are_not_those_of_nmbrl_run(tmp_path):
    config = tiny()
    train(config, tmp_path / "run")
    evaluator = Evaluator(config)
    evaluator.submit((tmp_path / "run" / MODEL).read_bytes())
    best = RunDirectory(tmp_path / "run").read_checkpoint().counters.best
    assert evaluator.result().mean == best


def test_a_loss_that_is_not_finite_ends_training_with_the_checkpoint_kept(tmp_path, monkeypatch):
    train(tiny(frames=60), tmp_path / "run")
    before = open_run(tmp_path / "run").id
    update = Learner.update

    def poisoned(self, batch):
        return update(self, batch | {"r": np.full_like(batch["r"], np.nan)} if self.updates == 30 else batch)

    monkeypatch.setattr(Learner, "update", poisoned)
    with pytest.raises(NmbrlError, match="training diverged"):
        train(tiny(checkpoint_seconds=1000.0), tmp_path / "run")
    monkeypatch.undo()
    assert open_run(tmp_path / "run").id == before
    train(tiny(checkpoint_seconds=1000.0), tmp_path / "run")


def test_tensorboard_has_each_figure_apart(tmp_path):
    train(tiny(), tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "events"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    wanted = {"model/observation", "model/reward", "evaluation/mean_return", "training/return"}
    assert wanted | {f"model/dimension_error/{index}" for index in range(3)} <= tags
    assert [event.step for event in events.Scalars("evaluation/mean_return")] == [60, 80, 100, 120]
