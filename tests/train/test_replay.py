import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmbrl.targets.errors import NmbrlError
from nmbrl.train import replay
from nmbrl.train.replay import Replay, Stretch

# Every decision is marked by the number of its episode and its own, so that a sequence shows where it comes from.
EPISODES = st.lists(st.tuples(st.integers(1, 150), st.booleans()), min_size=1, max_size=8)


def fill(target: Replay, episodes: list[tuple[int, bool]], leave_last_open: bool = False) -> None:
    for number, (length, ended) in enumerate(episodes):
        stretch = target.begin(np.array([number, 0], np.float32), first=True)
        for step in range(length):
            observation = np.array([number, step + 1], np.float32)
            stretch.append(np.array([step], np.float32), 100 * number + step, ended and step == length - 1, observation)
        if not (leave_last_open and number == len(episodes) - 1):
            target.close(stretch)


@given(EPISODES, st.integers(1, 12), st.booleans(), st.integers(0, 99))
def test_sequences_are_what_happened(episodes, length, leave_open, seed):
    target = Replay(2, 1, 10**6)
    fill(target, episodes, leave_open)
    if not any(ended or steps >= length for steps, ended in episodes):
        with pytest.raises(NmbrlError, match="sequence_length"):
            target.sample(np.random.default_rng(seed), 4, length)
        return
    batch = target.sample(np.random.default_rng(seed), 16, length)
    assert {name: array.shape for name, array in batch.items()} == {
        "o": (16, length + 1, 2),
        "a": (16, length, 1),
        "r": (16, length),
        "c": (16, length),
    }
    for o, a, r, c in zip(*batch.values(), strict=True):
        number, start = int(o[0, 0]), int(o[0, 1])
        steps, ended = episodes[number]
        for t in range(length):
            assert o[t].tolist() == [number, min(start + t, steps)]
            if start + t < steps:
                assert (a[t, 0], r[t]) == (start + t, 100 * number + start + t)
                assert c[t] == (0 if ended and start + t == steps - 1 else 1)
            else:
                assert ended
                assert (a[t, 0], r[t], c[t]) == (0, 0, 0)
        assert o[length].tolist() == [number, min(start + length, steps)]


def test_every_sequence_is_as_likely():
    target = Replay(2, 1, 10**6)
    fill(target, [(6, False), (3, True), (2, False)])
    batch = target.sample(np.random.default_rng(0), 60_000, 4)
    starts, counts = np.unique(batch["o"][:, 0], axis=0, return_counts=True)
    # Sequences of 4: three begin in the first episode, one at each decision of the one that ended, none in the last.
    assert starts.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert np.abs(counts - 10_000).max() < 4 * np.sqrt(10_000)


def test_a_share_of_the_sequences_is_drawn_by_reward():
    target = Replay(2, 1, 10**6)
    rewards = [0, 0, 0, 1, -9, 0, 0], [0, 0, 0, 0, 0], [3, 0, 0, 2]
    for number, episode in enumerate(rewards):
        stretch = target.begin(np.array([number, 0], np.float32), first=True)
        for step, reward in enumerate(episode, start=1):
            ended = number == 2 and step == 4
            stretch.append(np.zeros(1, np.float32), reward, ended, np.array([number, step], np.float32))
        if number < 2:
            target.close(stretch)
    size = 80_000
    batch = target.sample(np.random.default_rng(0), size, 3, rewarded_share=0.75)
    starts, counts = np.unique(batch["o"][:60_000, 0], axis=0, return_counts=True)
    # Of three decisions each, those that hold the 1; then the 3, the 2, the 2 and the 2, the last two padded.
    assert starts.tolist() == [[0, 1], [0, 2], [0, 3], [2, 0], [2, 1], [2, 2], [2, 3]]
    expected = 60_000 * np.array([1, 1, 1, 3, 2, 2, 2]) / 12
    assert (np.abs(counts - expected) < 4 * np.sqrt(expected)).all()
    plain = target.sample(np.random.default_rng(0), size, 3)
    for name, array in batch.items():
        np.testing.assert_array_equal(array[60_000:], plain[name][60_000:])


@pytest.mark.parametrize("reward", [0.0, -1.0])
def test_without_any_reward_all_sequences_are_as_likely(reward):
    target = Replay(2, 1, 10**6)
    stretch = target.begin(np.zeros(2, np.float32), first=True)
    for step in range(9):
        stretch.append(np.zeros(1, np.float32), reward, False, np.array([0, step + 1], np.float32))
    drawn = target.sample(np.random.default_rng(0), 50, 3, rewarded_share=1.0)
    np.testing.assert_array_equal(drawn["o"], target.sample(np.random.default_rng(0), 50, 3)["o"])


@given(EPISODES)
def test_a_chunk_gives_back_what_was_packed(episodes):
    target = Replay(2, 1, 10**6)
    fill(target, episodes)
    content = replay.pack(target.fresh)
    assert content == replay.pack(target.fresh)
    read = replay.unpack(content, "chunk")
    assert [stretch.ended for stretch in read] == [ended for _, ended in episodes]
    for one, other in zip(read, target.closed, strict=True):
        assert one.first and one.length == other.length
        for name, array in one.arrays().items():
            np.testing.assert_array_equal(array, other.arrays()[name])


def test_the_oldest_drop_out():
    target = Replay(2, 1, 10)
    fill(target, [(4, False), (4, False), (4, False), (5, False)])
    assert [int(stretch.arrays()["o"][0, 0]) for stretch in target.closed] == [2, 3]
    assert target.decisions == 9
    assert len(target.fresh) == 4


def test_an_open_stretch_goes_on_growing_after_its_array_is_full():
    stretch = Stretch(np.zeros(1, np.float32), 1, True)
    for step in range(300):
        stretch.append(np.array([step], np.float32), step, False, np.array([step + 1], np.float32))
    arrays = stretch.arrays()
    np.testing.assert_array_equal(arrays["o"][:, 0], np.arange(301))
    np.testing.assert_array_equal(arrays["a"][:, 0], np.arange(300))
    np.testing.assert_array_equal(arrays["r"], np.arange(300))


def test_calibration_is_the_newest_long_episodes_from_their_start():
    target = Replay(2, 1, 10**6)
    fill(target, [(9, False), (8, False), (2, True), (7, False), (6, False), (1, True)])
    arrays = target.calibration(3)
    # Of the newest six lengths 9 8 2 7 6 1 the median is 6; the three newest that reach it, cut to it.
    assert arrays["o"].shape == (3, 7, 2)
    assert arrays["o"][:, 0, 0].tolist() == [1, 3, 4]
    assert arrays["a"].shape == (3, 6, 1)


@pytest.mark.parametrize("name", replay.FIELDS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_stored_values_that_are_not_finite_are_refused(name, value):
    target = Replay(2, 1, 10**6)
    fill(target, [(3, False)])
    arrays = target.closed[0].arrays() | {"lengths": np.array([3]), "first": np.array([True])}
    arrays[name][1] = value
    with pytest.raises(NmbrlError, match=f"chunk holds values that are not finite numbers in '{name}'"):
        replay.unpack(replay.pack_arrays(arrays), "chunk")


@given(st.data())
def test_a_damaged_chunk_is_one_clear_error(data):
    target = Replay(2, 1, 10**6)
    fill(target, [(20, False)])
    content = replay.pack(target.fresh)
    size = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(NmbrlError, match="damaged"):
        replay.unpack(content[:size], "chunk")
