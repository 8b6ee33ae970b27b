"""Presets of `nmbrl-train`: what differs from the defaults of `TrainingConfig` for a task, known to work."""

from typing import Any

DEFAULT = "cartpole-swingup"

PRESETS: dict[str, dict[str, Any]] = {
    "cartpole-swingup": {
        "env": "dm_control/cartpole-swingup-v0",
        "action_repeat": 8,
        "terminates": False,
        "frames": 25_000,
        "random_frames": 2000,
        "updates_per_decision": 4.0,
    },
    # The reward is 0 but near the top, and the policy settles for spinning through it unless much that it learns from
    # is drawn by reward: many short random episodes, which begin at any angle, bring that. A pole near the top makes
    # gradients grow with the time that is imagined: a short horizon. Noise brakes a pole that spins: without it, and
    # further on than the horizon, the policy has to have been there to learn that spinning is worth little.
    "pendulum-swingup": {
        "env": "dm_control/pendulum-swingup-v0",
        "action_repeat": 4,
        "terminates": False,
        "frames": 30_000,
        "random_frames": 20_000,
        "longest_episode": 100,
        "longest_random_episode": 25,
        "evaluation": {"interval": 2000},
        "learner": {
            "rewarded_share": 0.4,
            "continued_share": 0.6,
            "quiet_share": 0.5,
            "saturation": 0.01,
            "horizon": 5,
            "discount": 0.98,
            "entropy": 3e-4,
            "decay_from": 5000,
            "decay_to": 8000,
        },
    },
    # The ball is caught seldom by chance, and its string makes gradients through the model wild: a search finds catches
    # that the policy then learns from.
    "cup-catch": {
        "env": "dm_control/ball_in_cup-catch-v0",
        "action_repeat": 4,
        "terminates": False,
        "frames": 30_000,
        "updates_per_decision": 1.5,
        "planner": "mppi",
        "planner_options": {
            "samples": 128,
            "horizon": 10,
            "iterations": 2,
            "std_start": 0.7,
            "deviation": 0.0,
            "margin": 0.0,
            "policy_samples": 16,
        },
        "learner": {"horizon": 10, "actor_rate": 5e-4, "decay_from": 8000, "decay_to": 15_000},
    },
    "cartpole-v1": {
        "env": "CartPole-v1",
        "action_repeat": 1,
        "terminates": True,
        "frames": 15_000,
        "random_frames": 500,
        "updates_per_decision": 0.5,
        "learner": {"discount": 0.99, "horizon": 12, "slow_rate": 0.02, "model_rate": 1e-3},
    },
}
