"""Rolling action sequences through the model, all lanes and samples in one call a step."""

import numpy as np

from nmbrl.targets.interface import Array, Executor


def imagine_plans(
    executor: Executor, state: Array, plans: Array, guided: np.ndarray | None = None
) -> tuple[Array, Array]:
    """Score action sequences by what the model and the value function promise.

    The score is the sum over t of ``discount^t alive_t r_t`` plus ``discount^H alive_H value(s_H)``, where ``alive_t``
    is the product of the continue probabilities before t.

    Args:
        executor: what runs the model.
        state: (batch, state_size), where each lane's sequences begin.
        plans: (batch, samples, horizon, action_size), valid actions; where `guided`, what is added to the policy's raw
            action before it is made valid (Gaussian noise on a mean action, Gumbel noise on logits).
        guided: mask (samples, horizon) of decisions that the policy takes; none if left out.

    Returns:
        The sequences as they were taken, with the policy's decisions in place (same shape as `plans`), and their
        scores (batch, samples).
    """
    batch, samples, horizon, action_size = plans.shape
    taken = plans.astype(np.float32, copy=True)
    states = np.repeat(state, samples, axis=0)
    score = np.zeros(batch * samples, np.float32)
    weight = np.ones(batch * samples, np.float32)
    for t in range(horizon):
        if guided is not None and guided[:, t].any():
            rows = np.tile(guided[:, t], batch)
            raw = executor.act(states[rows]) + taken[:, guided[:, t], t].reshape(-1, action_size)
            taken[:, guided[:, t], t] = executor.project_action(raw).reshape(batch, -1, action_size)
        states, reward, alive = executor.imagine(states, taken[:, :, t].reshape(-1, action_size))
        score += weight * reward
        weight *= np.float32(executor.interface.discount) * alive
    score += weight * executor.value(states)
    return taken, score.reshape(batch, samples)
