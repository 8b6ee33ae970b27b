"""The equations that the ceiling is searched with, against MuJoCo itself."""

import numpy as np
import pytest
from cartpole_ceiling import ENV, RAIL_COST, measure_plant, regulate, returns_of, reward

from nmbrl.runtime.perturbation import make_environment, parse_perturbation

ACTIONS = np.random.default_rng(1).uniform(-1, 1, 15).astype(np.float32)


@pytest.mark.parametrize("change", ["", "cart_mass=1.5", "pole_length=1.3"])
def test_the_equations_are_mujocos(change):
    environment = make_environment(ENV, 8, parse_perturbation(change))
    try:
        x, cosine, sine, speed, turn = environment.reset(3).astype(float)
        state = x, np.arctan2(sine, cosine), speed, turn
        plant, total, expected = measure_plant(change), 0.0, 0.0
        for action in ACTIONS:
            observation, earned, *_ = environment.step(action[None])
            expected += earned
            for _ in range(8):
                state = plant.step(state, np.float64(action))
                total += reward(state, np.float64(action))
    finally:
        environment.close()
    x, angle, speed, turn = state
    # The observation that begins it is in single precision.
    np.testing.assert_allclose([x, np.cos(angle), np.sin(angle), speed, turn], observation, atol=1e-4)
    assert total == pytest.approx(expected, abs=1e-4)


def test_a_plan_that_does_nothing_earns_nothing_and_the_rails_end_costs():
    plant = measure_plant("")
    idle, pushing = returns_of(plant, np.stack([np.zeros(20), np.ones(20)]), 8)
    assert idle == pytest.approx(0.0, abs=1e-9)
    assert pushing < -RAIL_COST


def test_the_regulator_balances_a_leaning_pole():
    plant = measure_plant("")
    gain, state = regulate(plant, 8), (0.2, 0.15, 0.0, -0.1)
    for _ in range(60):
        action = np.clip(-gain @ np.array(state), -1, 1)
        for _ in range(8):
            state = plant.step(state, action)
    np.testing.assert_allclose(state, 0.0, atol=0.02)
    assert reward(state, action) > 0.99
