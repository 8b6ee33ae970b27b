import json

import numpy as np
import pytest
from curves_page import draw, frames_to, page
from ours import read_metrics
from peers import FIRST_EVALUATION_SEED, SEED_STRIDE, PeerEnvironment, evaluate, train_peer
from stable_baselines3.common.env_checker import check_env

from nmbrl.runtime.environment import Environment

PENDULUM = "Pendulum-v1"


def result(name, returns, seed=0):
    points = [
        {"frames": 1000 * (k + 1), "seconds": 2.0 * k, "cpu_seconds": 1.0 * k, "returns": [value - 10, value + 10]}
        for k, value in enumerate(returns)
    ]
    about = {"name": name, "env": PENDULUM, "action_repeat": 2, "seed": seed, "episodes": 2, "versions": {"torch": "1"}}
    return {**about, "points": points, "final_varied": [1.0, 2.0]}


def test_the_wrapped_environment_is_what_the_library_expects():
    check_env(PeerEnvironment(PENDULUM, 2))


@pytest.mark.parametrize("varied", [False, True])
def test_evaluation_is_the_sum_of_rewards_on_its_own_seeds(varied):
    def act(observations):
        return np.clip(observations[:, 1:2], -1, 1)

    environments = [Environment(PENDULUM, 2) for _ in range(2)]
    expected = []
    for seed in (FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + SEED_STRIDE):
        plant = Environment(PENDULUM, 2)
        observation, total, over = plant.reset(seed, varied), 0.0, False
        while not over:
            observation, reward, terminated, truncated = plant.step(act(observation[None])[0])
            total += reward
            over = terminated or truncated
        expected.append(total)
    assert evaluate(act, environments, 2, varied) == expected


def test_a_training_is_evaluated_when_it_should_and_repeats():
    def train():
        seen = []
        return train_peer("sac", PENDULUM, 2, 3, 240, 120, 2, seen.append), seen

    (trained, seen), (again, _) = train(), train()
    assert [point["frames"] for point in trained["points"]] == [120, 240]
    assert seen == trained["points"]
    assert [point["returns"] for point in trained["points"]] == [point["returns"] for point in again["points"]]
    assert len(trained["final_varied"]) == 2
    assert trained["points"][1]["cpu_seconds"] > trained["points"][0]["cpu_seconds"]


def test_frames_to_a_level_are_of_the_first_mean_that_reaches_it():
    assert frames_to(result("sac", [100, 800, 700, 900])) == 2000
    assert frames_to(result("sac", [100, 799])) is None


def test_the_table_has_a_row_a_training_and_the_plot_a_line():
    results = [result("sac", [100, 820], seed=0), result("sac", [100, 200], seed=1), result("ppo", [5, 6])]
    text = page(results, "make it")
    assert "| SAC, Stable-Baselines3 | 0 | 2,000 | 820 | 2 | 2,000 | 1 s | 2 s |" in text
    assert "| SAC, Stable-Baselines3 | 1 | not reached | 200 |" in text
    assert "make it" in text
    axes = draw(results).axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_xdata()[0] == 1000]
    assert [line.get_ydata().tolist() for line in lines] == [[100, 820], [100, 200], [5, 6]]
    assert len(axes.get_legend().get_texts()) == 2


def test_points_are_read_from_the_log_of_a_run():
    records = [
        {"kind": "training", "frames": 1000, "seconds": 3.0},
        {"kind": "training", "frames": 2000, "seconds": 7.0},
        {"kind": "evaluation", "frames": 1000, "returns": [1.234, 2.0], "returns_varied": [0.5]},
        {"kind": "training", "frames": 3000, "seconds": 9.0},
        {"kind": "evaluation", "frames": 2000, "returns": [5.0, 7.0], "returns_varied": [4.5]},
    ]
    found = read_metrics(json.dumps(record) for record in records)
    assert [(point["frames"], point["seconds"]) for point in found["points"]] == [(1000, 3.0), (2000, 7.0)]
    assert found["points"][0]["returns"] == [1.23, 2.0]
    assert found["final_varied"] == [4.5]
