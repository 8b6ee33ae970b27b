import numpy as np
import pytest

from nmbrl.runtime.perturbation import make_environment, parse_perturbation
from nmbrl.targets.errors import NmbrlError

from .plants import POINT_MASS

CARTPOLE = "dm_control/cartpole-swingup-v0"


def capsule(mass, radius, length):
    """Moment of inertia of a homogeneous capsule about its centre, across its axis (cylinder and two half balls)."""
    cylinder, ball = np.pi * radius**2 * length, 4 / 3 * np.pi * radius**3
    density = mass / (cylinder + ball)
    across_cylinder = density * cylinder * (3 * radius**2 + length**2) / 12
    across_balls = density * ball * (2 / 5 * radius**2 + length**2 / 4 + 3 / 8 * radius * length)
    return across_cylinder + across_balls


def physics(environment):
    return environment._env.unwrapped.physics


def test_a_longer_pole_and_a_heavier_cart_have_the_inertia_of_their_shapes():
    plain = make_environment(CARTPOLE, 5, {})
    changed = make_environment(CARTPOLE, 5, {"pole_length": 1.3, "cart_mass": 1.5})
    for environment, length, cart in ((plain, 1.0, 1.0), (changed, 1.3, 1.5)):
        model = physics(environment).named.model
        assert model.body_mass["pole_1"] == pytest.approx(0.1) and model.body_mass["cart"] == pytest.approx(cart)
        assert model.body_ipos["pole_1", "z"] == pytest.approx(length / 2)
        assert max(model.body_inertia["pole_1"]) == pytest.approx(capsule(0.1, 0.045, length), rel=1e-6)


def test_a_change_outlasts_a_reset_and_shows_in_the_motion():
    push = np.ones(1, np.float32)
    speeds = []
    for factor in (1.0, 1.5):
        environment = make_environment(CARTPOLE, 1, {"cart_mass": factor})
        environment.reset(0)
        before = environment.reset(0)
        after, *_ = environment.step(push)
        speeds.append(after[3] - before[3])
    # A hanging pole of 0.1 kg hardly loads the cart: acceleration goes with the inverse of the mass.
    assert speeds[0] / speeds[1] == pytest.approx(1.5, rel=0.05)


@pytest.mark.parametrize(("delay", "repeat", "frames"), [(1, 4, 4), (0.5, 4, 2), (2, 1, 2), (0, 3, 0)])
def test_a_late_action_moves_the_plant_that_much_later(delay, repeat, frames):
    late, prompt = make_environment(POINT_MASS, repeat, {"delay": delay}), make_environment(POINT_MASS, 1, {})
    forces = np.random.default_rng(0).uniform(-1, 1, (5, 1)).astype(np.float32)
    np.testing.assert_array_equal(late.reset(3), prompt.reset(3))
    applied = [np.zeros(1, np.float32)] * frames + [force for force in forces for _ in range(repeat)]
    for k, force in enumerate(forces):
        observation, *_ = late.step(force)
        for t in range(repeat):
            expected, *_ = prompt.step(applied[k * repeat + t])
        np.testing.assert_allclose(observation, expected, rtol=1e-6)


def test_classic_cartpole_keeps_its_derived_quantities_in_step():
    plant = make_environment("CartPole-v1", 1, {"pole_length": 1.3, "cart_mass": 1.5, "delay": 1})._env.unwrapped
    assert (plant.length, plant.masscart) == (pytest.approx(0.65), pytest.approx(1.5))
    assert plant.total_mass == pytest.approx(1.6) and plant.polemass_length == pytest.approx(0.065)


def test_parsing():
    assert parse_perturbation("pole_length=1.3, cart_mass=1.5,delay=0") == {
        "pole_length": 1.3,
        "cart_mass": 1.5,
        "delay": 0.0,
    }
    assert parse_perturbation("") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wind=3", "unknown perturbation 'wind'; choose from pole_length, cart_mass, delay"),
        ("delay", "delay needs a number"),
        ("pole_length=long", "pole_length needs a number"),
        ("pole_length=0", "pole_length must be positive"),
        ("cart_mass=nan", "cart_mass must be positive"),
        ("delay=-1", "delay must be positive"),
    ],
)
def test_wrong_changes_are_one_clear_line(text, message):
    with pytest.raises(NmbrlError, match=message):
        parse_perturbation(text)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (POINT_MASS, "has no pole_length to change"),
        ("dm_control/cartpole-two_poles-v0", "2-pole cart-poles cannot be changed"),
    ],
)
def test_plants_without_such_a_part_are_an_error(env, message):
    with pytest.raises(NmbrlError, match=message):
        make_environment(env, 1, {"pole_length": 1.3})
