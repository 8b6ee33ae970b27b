"""The GRU world model: against torch.nn.GRU, its budget, and its fast imagination against autograd."""

import pytest
import torch
from torch import nn

from nmbrl.targets.interface import Task
from nmbrl.train.deployed import layer_macs
from nmbrl.train.imagination import Explorer, roll_out
from nmbrl.train.models.gru import Gru
from nmbrl.train.models.trainable import Normalisation, Scales

TASK = Task(env="test", action_repeat=4, observation_size=3, action_kind="box", action_size=2)
SCALES = Scales(
    Normalisation(mean=(0.0,) * 3, std=(1.0,) * 3), (0.5, 0.1, 2.0), 4.0, (-1.5,) * 3, (1.0, 1.5, 2.0), -1.0, 2.0
)


def make(terminates: bool = True, task: Task = TASK, scaled: bool = True) -> Gru:
    torch.manual_seed(0)
    model = Gru(task, terminates, 0.97, hidden_size=8, width=16)
    # Output layers start near zero: make them matter.
    for part in (model.policy, model.critic):
        nn.init.normal_(part.output.weight, std=0.5)
    if scaled:
        model.set_scales(SCALES)
    return model


def test_observe_is_a_torch_gru_on_the_embedded_step():
    model = make().double()
    x, h, a, o = (torch.randn(5, size, dtype=torch.float64) for size in (3, 8, 2, 3))
    reference = nn.GRUCell(16, 8).double()
    with torch.no_grad():
        reference.weight_ih.copy_(model.gru_input.weight)
        reference.weight_hh.copy_(model.gru_hidden.weight)
        reference.bias_ih.copy_(model.gru_input.bias)
        reference.bias_hh.copy_(model.gru_hidden.bias)
    expected = reference(nn.functional.silu(model.embedding(torch.cat([x, a], 1))), h)
    torch.testing.assert_close(model.observe(x, h, a, o)[0], expected)
    torch.testing.assert_close(model.imagine(x, h, a)[1], expected)


def test_training_sees_the_states_that_deployment_reaches():
    """The states that the loss infers from a sequence are those of observing it after a reset, step by step."""
    model = make(terminates=False)
    observations, actions = torch.randn(1, 6, 3), torch.rand(1, 5, 2)
    states = model.loss(observations, actions, torch.zeros(1, 5), torch.ones(1, 5)).states
    x, h = torch.zeros(1, 3), torch.zeros(1, 8)
    for step in range(6):
        a = actions[:, step - 1] if step else torch.zeros(1, 2)
        (h,) = model.observe(x, h, a, observations[:, step])
        x = observations[:, step]
        torch.testing.assert_close(states[step], torch.cat([x, h], 1)[0])


def test_loss_is_the_error_of_imagine():
    model = make(terminates=False)
    observations, actions, rewards = torch.randn(2, 4, 3), torch.rand(2, 3, 2), torch.rand(2, 3)
    loss = model.loss(observations, actions, rewards, torch.ones(2, 3))
    states = loss.states.reshape(2, 4, 11)[:, :3].reshape(6, 11)
    x, _, r = model.imagine(states[:, :3], states[:, 3:], actions.reshape(6, 2))
    error = (x - observations[:, 1:].reshape(6, 3)) / torch.tensor(SCALES.delta)
    torch.testing.assert_close(loss.parts["observation"], error.square().mean())
    torch.testing.assert_close(loss.parts["reward"], ((r[:, 0] - rewards.flatten()) / 4).square().mean())


def test_what_follows_the_end_of_an_episode_does_not_matter():
    model = make()
    observations, actions, rewards = torch.randn(2, 5, 3), torch.rand(2, 4, 2), torch.rand(2, 4)
    continues = torch.tensor([[1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    one = model.loss(observations, actions, rewards, continues)
    observations[0, 3:], actions[0, 2:], rewards[0, 2:] = 7.0, 7.0, 7.0
    continues[0, 2:] = 0.0
    other = model.loss(observations, actions, rewards, continues)
    assert {name: part.item() for name, part in one.parts.items()} == {n: p.item() for n, p in other.parts.items()}
    assert len(one.states) == len(other.states) == 2 + 5


def test_default_size_is_within_the_budget():
    cartpole = Task(env="cartpole", action_repeat=4, observation_size=5, action_kind="box", action_size=1)
    model = Gru(cartpole, False, 0.97)
    by_hand = 6 * 64 + 64 + 2 * (64 * 192 + 192) + (128 * 64 + 64 + 64 * 6 + 6) + 2 * (69 * 64 + 64 + 64**2 + 64 + 65)
    assert model.interface.parameters == by_hand <= 64_000
    assert model.macs == {
        "observe": 6 * 64 + 2 * 64 * 192,
        "imagine": 6 * 64 + 2 * 64 * 192 + 128 * 64 + 64 * 6,
        "act": 69 * 64 + 64 * 64 + 64,
        "value": 69 * 64 + 64 * 64 + 64,
    }


@pytest.mark.parametrize("terminates", [False, True])
def test_fast_imagination_equals_autograd(terminates):
    model = make(terminates).double()
    explorer = Explorer(16, 2, False, 0.1).double()
    nn.init.normal_(explorer.spread.weight)
    start = torch.randn(7, 11, dtype=torch.float64)
    noise = torch.randn(5, 7, 2, dtype=torch.float64)
    trained = [*model.policy.parameters(), *explorer.parameters()]
    weights = {
        name: torch.randn(5 + (name == "states"), 7, dtype=torch.float64) for name in ("states", "spread", "r", "c")
    }

    def gradients(rollout):
        loss = (weights["states"] * rollout.states.sin().sum(-1)).sum() + (
            weights["spread"] * rollout.spread.sum(-1)
        ).sum()
        loss = loss + (weights["r"] * rollout.rewards).sum() + (weights["c"] * rollout.continues).sum()
        return torch.autograd.grad(loss, trained)

    expected, actual = (
        roll_out(model, explorer, start, noise),
        model.imagination(explorer)(start, noise),
    )
    for field in ("states", "actions", "spread", "rewards", "continues"):
        torch.testing.assert_close(getattr(actual, field), getattr(expected, field), rtol=1e-10, atol=1e-10)
    assert (expected.actions.abs() == 1).any()
    for one, other in zip(gradients(actual), gradients(expected), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_layers_are_all_of_the_multiply_accumulates():
    for model in (make(), make(terminates=False)):
        layers = layer_macs(model)
        assert {function: sum(of.values()) for function, of in layers.items()} == model.macs
        assert "gru_hidden" in layers["observe"] and "policy.output" in layers["act"]
