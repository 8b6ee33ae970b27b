"""The interface: states as segments, aliases, normalisation, and what every executor does the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError

from nmbrl.targets.interface import Executor, Interface, Normalisation, Segment, Task


def make_interface(sizes=(2, 3), discrete=False, **fields) -> Interface:
    task = Task(
        env="test/E-v0",
        action_repeat=1,
        observation_size=2,
        action_kind="discrete" if discrete else "box",
        action_size=3,
    )
    complete = {
        "architecture": "gru",
        "task": task,
        "normalisation": Normalisation(mean=(1.0, -2.0), std=(0.5, 4.0), clip=3.0),
        "state": tuple(Segment(name=f"s{index}", size=size) for index, size in enumerate(sizes)),
        "terminates": False,
        "discount": 0.9,
        "parameters": 1,
    }
    return Interface(**{**complete, **fields})


class Sums(Executor):
    """Every output is the sum of all inputs, plus the output's number."""

    def call(self, function, inputs):
        self.seen = inputs
        total = sum(values.sum(axis=1, keepdims=True) for values in inputs.values())
        sizes = self.interface.output_sizes(function)
        return {name: np.repeat(total + i, size, 1).astype(np.float32) for i, (name, size) in enumerate(sizes.items())}


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(1, 4), st.integers(0, 99))
def test_split_and_join_are_inverse(sizes, batch, seed):
    interface = make_interface(sizes)
    state = np.random.default_rng(seed).normal(size=(batch, sum(sizes))).astype(np.float32)
    segments = interface.split(state)
    assert [segments[segment.name].shape for segment in interface.state] == [(batch, size) for size in sizes]
    np.testing.assert_array_equal(interface.join(segments), state)


def test_sizes_name_what_a_function_takes_and_gives():
    interface = make_interface(terminates=True, aliases={"observe": {"s0": "o"}, "decode": {"o": "s0"}})
    assert interface.input_sizes("observe") == {"s0": 2, "s1": 3, "a": 3, "o": 2}
    assert interface.input_sizes("act") == {"s0": 2, "s1": 3}
    assert interface.output_sizes("observe") == {"s1": 3}
    assert interface.output_sizes("imagine") == {"s0": 2, "s1": 3, "r": 1, "c": 1}
    assert interface.functions == ("observe", "imagine", "act", "value")
    assert make_interface().output_sizes("imagine") == {"s0": 2, "s1": 3, "r": 1}


@given(arrays.arrays(np.float32, (4, 2), elements=st.floats(-100, 100, width=32)))
def test_normalisation_clips_and_restores(observation):
    normalisation = Normalisation(mean=(1.0, -2.0), std=(0.5, 4.0), clip=3.0)
    x = normalisation.normalise(observation)
    assert np.abs(x).max() <= 3.0
    expected = np.clip((observation.astype(np.float64) - [1, -2]) / [0.5, 4], -3, 3) * [0.5, 4] + [1, -2]
    np.testing.assert_allclose(normalisation.restore(x), expected, atol=1e-4)


def test_observe_normalises_passes_aliases_through_and_counts():
    executor = Sums("sums", make_interface(aliases={"observe": {"s0": "o"}, "decode": {"o": "s0"}}), {})
    state = executor.reset(5)
    assert state.shape == (5, 5) and not state.any()
    observation = np.tile(np.float32([1.5, -2.0]), (5, 1))
    after = executor.interface.split(executor.observe(state, np.ones((5, 3), np.float32), observation))
    np.testing.assert_array_equal(after["s0"], np.tile(np.float32([1, 0]), (5, 1)))
    np.testing.assert_array_equal(after["s1"], np.full((5, 3), 3 + 1, np.float32))
    np.testing.assert_array_equal(executor.decode(executor.interface.join(after)), observation)
    assert executor.counts == {"observe": 5}


def test_imagine_gives_one_where_episodes_do_not_end():
    executor = Sums("sums", make_interface(), {})
    _, reward, carries_on = executor.imagine(np.zeros((2, 5), np.float32), np.ones((2, 3), np.float32))
    assert reward.tolist() == [5.0, 5.0] and carries_on.tolist() == [1.0, 1.0]
    ending = Sums("sums", make_interface(terminates=True), {})
    assert ending.imagine(np.zeros((2, 5), np.float32), np.ones((2, 3), np.float32))[2].tolist() == [6.0, 6.0]
    assert executor.value(np.ones((2, 5), np.float32)).tolist() == [5.0, 5.0]


def test_project_action_makes_actions_valid():
    box, discrete = (Sums("sums", make_interface(discrete=kind), {}) for kind in (False, True))
    raw = np.float32([[2.0, -3.0, 0.5]])
    assert box.project_action(raw).tolist() == [[1.0, -1.0, 0.5]]
    assert discrete.project_action(raw).tolist() == [[1.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    "fields", [{"discount": 1.5}, {"state": ({"name": "h", "size": 0},)}, {"surprise": 1}, {"parameters": "many"}]
)
def test_impossible_interfaces_are_refused(fields):
    with pytest.raises(ValidationError):
        make_interface(**fields)
