"""Imagination: lambda-returns, exploration noise."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nmbrl.train.imagination import Explorer, lambda_returns


@given(horizon=st.integers(1, 8), trace=st.floats(0, 1), discount=st.floats(0.1, 0.99), seed=st.integers(0, 999))
def test_lambda_return_is_the_weighted_mean_of_n_step_returns(horizon, trace, discount, seed):
    """Against the definition: (1 - l) sum_n l^(n-1) G_n + l^(N-1) G_N, G_n the return bootstrapped after n steps."""
    random = np.random.default_rng(seed)
    rewards, values = random.normal(size=horizon), random.normal(size=horizon + 1)
    continues = random.uniform(size=horizon)
    expected = []
    for start in range(horizon):
        n_steps, reached, total = [], 1.0, 0.0
        for step in range(start, horizon):
            total += reached * rewards[step]
            reached *= discount * continues[step]
            n_steps.append(total + reached * values[step + 1])
        last = len(n_steps) - 1
        expected.append(
            sum((1 - trace) * trace**n * value for n, value in enumerate(n_steps[:-1])) + trace**last * n_steps[-1]
        )
    actual = lambda_returns(*(torch.tensor(a)[:, None] for a in (rewards, discount * continues, values)), trace)
    np.testing.assert_allclose(actual[:, 0].numpy(), expected, rtol=1e-9, atol=1e-12)


def test_box_noise_has_the_spread_that_is_reported():
    explorer = Explorer(4, 1, False, 0.1)
    features = torch.zeros(20_000, 4)
    noise = explorer.noise((20_000, 1), torch.Generator().manual_seed(0))
    actions, log_std = explorer.act(torch.zeros(20_000, 1), features, 0.2 * noise)
    assert log_std.exp().unique().item() == pytest.approx(0.1 + 0.9 * 0.5)
    assert actions.std().item() == pytest.approx(0.2 * 0.55, rel=0.02)


def test_clipped_actions_still_pass_gradients():
    explorer = Explorer(4, 1, False, 0.1)
    output = torch.tensor([[3.0]], requires_grad=True)
    action, _ = explorer.act(output, torch.zeros(1, 4), torch.ones(1, 1))
    action.sum().backward()
    assert action.item() == 1
    assert output.grad is not None
    assert output.grad.item() == pytest.approx(1 - np.tanh(3.0) ** 2, rel=1e-5)


def test_discrete_samples_follow_the_logits():
    explorer = Explorer(4, 3, True, 0.1)
    probabilities = torch.tensor([0.6, 0.3, 0.1])
    noise = explorer.noise((20_000, 3), torch.Generator().manual_seed(0))
    actions, _ = explorer.act(probabilities.log().expand(20_000, 3), torch.zeros(20_000, 4), noise)
    np.testing.assert_allclose(actions.mean(0).numpy(), probabilities.numpy(), atol=0.01)
