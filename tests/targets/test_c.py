"""The C library of a bundle against TensorFlow Lite Micro on the same .tflite files: every bit, every function."""

import numpy as np
import pytest

from nmbrl.convert.c.verify import count_differences
from nmbrl.targets.bundle import read_bundle
from nmbrl.targets.c import open_executor
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.load import load


def test_ten_thousand_random_inputs_a_function(small_c):
    path, source = small_c
    bundle = read_bundle(source)
    models = {name: (source / function.file).read_bytes() for name, function in bundle.functions.items()}
    differences = count_differences(load(path), models, bundle.functions, rows=10_000, seed=1)
    assert set(differences) == set(bundle.functions)
    assert not any(differences.values())


def test_a_thousand_closed_loop_steps_end_in_the_same_state(small_c):
    path, source = small_c
    executors = load(path), load(source)
    random = np.random.default_rng(0)
    observations = np.cumsum(random.normal(0, 0.3, (1000, 3, 3)), axis=0) % 4 - 2
    states = [executor.reset(3) for executor in executors]
    actions = np.zeros((3, 2), np.float32)
    for observation in observations.astype(np.float32):
        states = [e.observe(s, actions, observation) for e, s in zip(executors, states, strict=True)]
        chosen = [e.project_action(e.act(s)) for e, s in zip(executors, states, strict=True)]
        np.testing.assert_array_equal(*states)
        np.testing.assert_array_equal(*chosen)
        actions = chosen[0]
    assert len(np.unique(states[0])) > 10


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5, 23, 24, 25, 60])
def test_any_batch_gives_what_single_rows_give(small_c, batch):
    executor = load(small_c[0])
    random = np.random.default_rng(batch)
    state = random.integers(-128, 128, (batch, executor.interface.state_size), np.int8)
    action = random.integers(-128, 128, (batch, 2), np.int8)
    together = executor.library.call("imagine", {"state": state, "a": action})
    for i in range(batch):
        alone = executor.library.call("imagine", {"state": state[i : i + 1], "a": action[i : i + 1]})
        for name, array in alone.items():
            if name != "c" or executor.interface.terminates:
                np.testing.assert_array_equal(together[name][i : i + 1], array, name)


def test_planner_reads_the_boundary_as_the_executor_does(small_c):
    executor = load(small_c[0])
    planner = executor.open_planner("policy", {"samples": 8, "horizon": 2, "iterations": 1, "elites": 2,
                                               "policy_samples": 1, "temperature": 0.5, "std_start": 0.5,
                                               "std_floor": 0.05, "correlation": 0.5, "margin": 0.0})  # fmt: skip
    planner.reset(0)
    state = executor.reset(1)
    random = np.random.default_rng(3)
    action = np.zeros(2, np.float32)
    for scale in (1e-3, 0.1, 1, 10, 1e6, 1e30):
        observation = random.normal(0, scale, 3).astype(np.float32)
        planner.update(action, observation)
        state = executor.observe(state, action[None], observation[None])
        np.testing.assert_array_equal(planner.belief, executor.quantise_state(state)[0])
        action = planner.plan()
        np.testing.assert_array_equal(action, executor.project_action(executor.act(state))[0])


def test_a_compiler_that_fails_is_one_clear_line(small_c, monkeypatch, tmp_path):
    path, _ = small_c
    monkeypatch.setenv("CC", "/nonexistent/cc")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    from nmbrl.targets import compiler

    compiler.find_compiler.cache_clear()
    compiler._machine.cache_clear()
    try:
        with pytest.raises(NmbrlError, match="cannot run the C compiler /nonexistent/cc"):
            open_executor(path, read_bundle(path))
    finally:
        compiler.find_compiler.cache_clear()
