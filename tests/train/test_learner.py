"""The learner: deployed weights, exact continuation, bad input."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Task
from nmbrl.train.config import LearnerConfig
from nmbrl.train.learner import Learner
from nmbrl.train.scales import measure

CONFIG = LearnerConfig(batch_size=4, sequence_length=3, starts=8, horizon=3, hidden_size=16, width=16)
BOX = Task(env="test", action_repeat=2, observation_size=3, action_kind="box", action_size=2)
DISCRETE = BOX.model_copy(update={"action_kind": "discrete"})


def make_batch(task: Task, seed: int, terminates: bool) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    actions = random.uniform(-1, 1, (4, 3, 2))
    if task.action_kind == "discrete":
        actions = np.eye(2)[random.integers(2, size=(4, 3))]
    continues = random.integers(0, 2, (4, 3)) if terminates else np.ones((4, 3))
    parts = {"o": random.normal(2, 3, (4, 4, 3)), "a": actions, "r": random.uniform(0, 2, (4, 3)), "c": continues}
    return {name: part.astype(np.float32) for name, part in parts.items()}


def make_learner(task: Task, terminates: bool, seed: int = 0, config: LearnerConfig = CONFIG) -> Learner:
    learner = Learner(config, task, seed, terminates)
    batch = make_batch(task, 99, terminates)
    learner.set_scales(measure(list(batch["o"]), list(batch["r"]), task.action_repeat))
    return learner


@pytest.mark.parametrize("task", [BOX, DISCRETE], ids=["box", "discrete"])
@pytest.mark.parametrize("terminates", [False, True])
@pytest.mark.parametrize("continued_share", [0.0, 0.5])
def test_continues_bit_for_bit(task, terminates, continued_share):
    config = CONFIG.model_copy(update={"continued_share": continued_share})
    unbroken = make_learner(task, terminates, config=config)
    for seed in range(3):
        unbroken.update(make_batch(task, seed, terminates))
    saved = unbroken.state()
    resumed = Learner(config, task, 123, terminates)
    resumed.restore(saved)
    for seed in range(3, 6):
        expected = unbroken.update(make_batch(task, seed, terminates))
        assert resumed.update(make_batch(task, seed, terminates)) == expected
    assert unbroken.state().keys() == resumed.state().keys()
    for name, tensor in unbroken.state().items():
        assert torch.equal(tensor, resumed.state()[name]), name
    assert resumed.model.interface == unbroken.model.interface


def test_update_changes_every_trained_weight():
    learner = make_learner(BOX, False)
    before = learner.state()
    for seed in range(2):
        learner.update(make_batch(BOX, seed, False))
    after = learner.state()
    assert [
        n for n in before if n.startswith(("live.", "average.", "slow.")) and torch.equal(before[n], after[n])
    ] == []


def test_state_of_another_size_is_refused():
    saved = make_learner(BOX, False).state()
    other = Learner(CONFIG.model_copy(update={"hidden_size": 32}), BOX, 0)
    with pytest.raises(NmbrlError, match="does not fit"):
        other.restore(saved)


def test_deployed_model_gives_what_the_averaged_one_gives():
    learner = make_learner(BOX, True)
    learner.update(make_batch(BOX, 0, True))
    inputs = [torch.randn(5, size, generator=torch.Generator().manual_seed(size)) for size in (3, 16, 2)]
    for function in ("imagine", "value"):
        arguments = inputs if function == "imagine" else inputs[:2]
        folded = getattr(learner.model, function)(*arguments)
        scaled = getattr(learner._average, function)(*arguments)
        for one, other in zip(folded, scaled, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert all(part.scale is None for part in (learner.model.head.output, learner.model.critic.output))


def test_not_a_number_in_the_batch_is_one_clear_error():
    learner = make_learner(BOX, False)
    batch = make_batch(BOX, 0, False)
    batch["r"][1, 1] = np.nan
    with pytest.raises(NmbrlError, match="diverged"):
        learner.update(batch)


def test_exploration_stays_in_range_and_repeats():
    for task in (BOX, DISCRETE):
        learner = make_learner(task, False)
        state = np.random.default_rng(0).normal(size=(50, 19)).astype(np.float32)
        one, other = (learner.explore(state, torch.Generator().manual_seed(5)) for _ in range(2))
        np.testing.assert_array_equal(one, other)
        assert np.abs(one).max() <= 1
        if task.action_kind == "discrete":
            np.testing.assert_array_equal(one.sum(1), 1)


def watch(learner: Learner, **changes) -> list:
    """Return a list that imagination adds its start, noise and end to; `changes` are made to what it returns."""
    seen, imagine = [], learner._imagine

    def watched(start, noise):
        rollout = dataclasses.replace(imagine(start, noise), **changes)
        seen.append((start.clone(), noise.clone(), rollout.states[-1].detach().clone()))
        return rollout

    learner._imagine = watched
    return seen


def test_imagination_goes_on_where_it_ended():
    learner = make_learner(BOX, False, config=CONFIG.model_copy(update={"continued_share": 0.75}))
    seen = watch(learner)
    for seed in range(3):
        learner.update(make_batch(BOX, seed, False))
    for (_, _, end), (start, _, _) in itertools.pairwise(seen):
        assert (start == end).all(1).sum() == 6


def test_imagination_does_not_go_on_from_an_end():
    learner = make_learner(BOX, True, config=CONFIG.model_copy(update={"continued_share": 0.75}))
    seen = watch(learner, continues=torch.full((3, 8), 0.4))
    for seed in range(2):
        learner.update(make_batch(BOX, seed, True))
    assert (seen[0][0] == seen[1][0]).all(1).sum() == 6


def test_a_share_of_trajectories_and_episodes_is_without_exploration():
    learner = make_learner(BOX, False, config=CONFIG.model_copy(update={"quiet_share": 0.25}))
    seen = watch(learner)
    learner.update(make_batch(BOX, 0, False))
    np.testing.assert_array_equal((seen[0][1] == 0).all(-1).all(0), np.arange(8) < 2)
    state = np.random.default_rng(0).normal(size=(50, 19)).astype(np.float32)
    mean = torch.tanh(learner.live.policy(torch.from_numpy(state))).detach().numpy()
    np.testing.assert_allclose(learner.explore(state, torch.Generator(), quiet=True), mean, atol=1e-6)
    assert np.abs(learner.explore(state, torch.Generator()) - mean).max() > 0.1


def test_a_saturated_policy_comes_back():
    state, outputs = torch.zeros(1, 19), {}
    for saturation in (0.0, 1.0):
        learner = make_learner(BOX, False, config=CONFIG.model_copy(update={"saturation": saturation}))
        with torch.no_grad():
            learner.live.policy.output.bias.fill_(20.0)
        for seed in range(100):
            learner.update(make_batch(BOX, seed, False))
        outputs[saturation] = learner.live.policy(state).min().item()
    assert outputs[0.0] > 19.9
    assert outputs[1.0] < 19.5


def test_learning_rates_fall_to_their_share_and_stay():
    config = LearnerConfig(decay_from=10, decay_to=20, decay_share=0.1, actor_rate=1.0)
    learner = Learner(config, BOX, 0)
    rates = []
    for learner.updates in (0, 10, 15, 20, 99):
        learner._set_rates()
        rates.append(learner._optimisers["actor"].param_groups[0]["lr"])
    np.testing.assert_allclose(rates, [1, 1, 0.55, 0.1, 0.1])


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("task", [BOX, DISCRETE], ids=["box", "discrete"])
def test_no_imagined_return_exceeds_what_the_rewards_allow(task, sign):
    learner = make_learner(task, False)
    # A value that promises far more, or less, than any policy can earn.
    with torch.no_grad():
        learner.slow_critic.output.bias.fill_(sign * 1e3)
    promised = learner.update(make_batch(task, 0, False))["critic/return"]
    assert learner.scales is not None
    worst, best = (r / (1 - CONFIG.discount) for r in (learner.scales.reward_low, learner.scales.reward_high))
    assert worst <= promised <= best
