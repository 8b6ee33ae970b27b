"""The planner in C against its definition in NumPy, and its arithmetic against independent references."""

import ctypes
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmbrl.runtime.planners import Native, PlannerOptions, Policy, make_planner
from nmbrl.runtime.planners.device import DevicePlanner
from nmbrl.runtime.planners.device_math import exp, gumbel, log, normal, philox, uniform
from nmbrl.targets.compiler import build_library
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.load import load

OPTIONS = (
    PlannerOptions(samples=24, horizon=6, iterations=3, elites=8, policy_samples=4, margin=0.0),
    PlannerOptions(samples=7, horizon=1, iterations=1, elites=3, policy_samples=2, margin=0.5, correlation=0.0),
    PlannerOptions(
        samples=30, horizon=5, iterations=2, elites=1, policy_samples=1, temperature=0.1, std_floor=0.0, margin=0.0
    ),
)


@pytest.mark.parametrize("options", OPTIONS, ids=["usual", "least", "greedy"])
@pytest.mark.parametrize("method", ["shooting", "cem", "mppi"])
def test_c_and_numpy_choose_the_same_actions(small_c, method, options):
    executor = load(small_c[0])
    planners = Native(executor, method, options), DevicePlanner(executor, method, options)
    random = np.random.default_rng(5)
    for planner in planners:
        planner.reset([3, 2**40 + 1])
    state, action = executor.reset(2), np.zeros((2, 2), np.float32)
    seen = set()
    for _ in range(12):
        state = executor.observe(state, action, random.normal(0, 1, (2, 3)).astype(np.float32))
        actions = [planner.decide(state) for planner in planners]
        np.testing.assert_array_equal(*actions)
        action = actions[0]
        seen.add(action.tobytes())
    assert len(seen) > 1


@pytest.mark.parametrize("options", OPTIONS, ids=["usual", "least", "greedy"])
@pytest.mark.parametrize("method", ["policy", "shooting", "cem", "mppi"])
def test_c_counts_the_calls_that_numpy_makes(small_c, method, options):
    counted = []
    for native in (True, False):
        executor = load(small_c[0])
        if native:
            planner = Native(executor, method, options)
        else:
            planner = Policy(executor) if method == "policy" else DevicePlanner(executor, method, options)
        planner.reset([3, 5])
        state = executor.reset(2)
        executor.counts.clear()
        for _ in range(3):
            planner.decide(state)
        counted.append(dict(executor.counts))
    assert counted[0] == counted[1]


def test_a_c_bundle_plans_in_c(small_c):
    planner = make_planner("cem", load(small_c[0]), samples=8, horizon=2, iterations=1, elites=2, policy_samples=1)
    assert isinstance(planner, Native)


def test_a_c_bundle_refuses_to_search_for_deviations(small_c):
    sizes = {"samples": 8, "horizon": 2, "iterations": 1, "elites": 2, "policy_samples": 1}
    with pytest.raises(NmbrlError, match="deviation must be 0"):
        make_planner("cem", load(small_c[0]), deviation=0.1, **sizes)
    assert isinstance(make_planner("cem", load(small_c[0]), deviation=0.0, **sizes), Native)


def test_the_library_refuses_what_its_memory_does_not_hold(small_c):
    executor = load(small_c[0])
    given = PlannerOptions(samples=8, horizon=2, elites=2, policy_samples=1).model_dump()
    with pytest.raises(NmbrlError, match="out of range"):
        executor.open_planner("cem", {**given, "correlation": math.nan})


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    """random.c and real.c with their functions callable on scalars."""
    from nmbrl.convert.c.sources import runtime_sources

    names = ("random.c", "real.c", "nmbrl_random.h", "nmbrl_real.h")
    built = ctypes.CDLL(str(build_library({name: runtime_sources()[name] for name in names})))
    kinds = {"sqrt exp log": ctypes.c_float, "uniform normal gumbel": ctypes.c_uint32}
    for name, kind in ((name, kind) for names, kind in kinds.items() for name in names.split()):
        function = getattr(built, f"nmbrl_{name}")
        function.restype, function.argtypes = ctypes.c_float, [kind]
    return built


def test_philox_gives_the_published_vectors(library):
    # Random123, kat_vectors: philox4x32 10.
    vectors = {
        (0, (0, 0, 0, 0)): "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
        (2**64 - 1, (2**32 - 1,) * 4): "408f276d 41c83b0e a20bc7c6 6d5451fd",
        (0x299F31D0A4093822, (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)): "d16cfe09 94fdcceb 5001e420 24126ea1",
    }
    for (seed, counter), expected in vectors.items():
        words = philox(seed, np.array([counter], np.uint32))[0]
        assert " ".join(f"{word:08x}" for word in words) == expected
        out = (ctypes.c_uint32 * 4)()
        library.nmbrl_philox(ctypes.c_uint64(seed), (ctypes.c_uint32 * 4)(*counter), out)
        assert list(out) == words.tolist()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=300, deadline=None)
def test_words_become_the_same_numbers_in_c_and_numpy(library, word):
    words = np.array([word], np.uint32)
    for name, function in {"uniform": uniform, "normal": normal, "gumbel": gumbel}.items():
        assert getattr(library, f"nmbrl_{name}")(word) == function(words)[0], name


@given(st.floats(2.0**-100, 2.0**100, width=32))
@settings(max_examples=300, deadline=None)
def test_elementary_functions(library, x):
    f = np.float32(x)
    assert library.nmbrl_sqrt(f) == np.sqrt(f)
    assert library.nmbrl_log(f) == log(np.array([f]))[0]
    assert abs(library.nmbrl_log(f) - math.log(f)) <= 2.0**-22 * max(1.0, abs(math.log(f)))
    assert library.nmbrl_exp(-f) == exp(np.array([-f]))[0]
    expected = math.exp(-float(f))
    assert abs(library.nmbrl_exp(-f) - expected) <= 2.0**-21 * expected + 2e-38


def test_square_root_is_correctly_rounded_where_it_is_hard(library):
    values = np.concatenate([np.float32([0, 1, 2, 3, 4, 2**-126, 3.4e38]),
                             np.nextafter(np.arange(1, 400, dtype=np.float32) ** 2, np.float32(0))])  # fmt: skip
    assert all(library.nmbrl_sqrt(value) == np.sqrt(value) for value in values)


def test_normal_numbers_are_normal():
    words = philox(7, np.stack([np.arange(200_000, dtype=np.uint32)] + [np.zeros(200_000, np.uint32)] * 3, axis=-1))
    z = normal(words.reshape(-1)).astype(np.float64)
    assert abs(z.mean()) < 0.005
    assert abs(z.std() - 1) < 0.005
    assert abs((z**4).mean() - 3) < 0.05
    for quantile, probability in ((-3.0, 0.0013499), (-1.0, 0.1586553), (0.5, 0.6914625), (2.0, 0.9772499)):
        assert abs((z < quantile).mean() - probability) < 0.002


def test_quantile_table_in_c_is_that_of_the_definition():
    import re

    from nmbrl.convert.c.sources import runtime_sources
    from nmbrl.runtime.planners.device_math import quantiles

    body = re.search(r"quantiles\[225\] = \{(.*?)\};", runtime_sources()["random.c"], re.S)
    assert body is not None
    numbers = np.array([float(text) for text in re.findall(r"(-?[\d.]+)f", body.group(1))], np.float32)
    np.testing.assert_array_equal(numbers, quantiles())
