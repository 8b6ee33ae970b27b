"""nmbrl-run --trace, on a run whose policy has random weights."""

import imageio.v3 as imageio
import numpy as np
import pytest
from click.testing import CliRunner

from nmbrl.convert.command import main as convert_main
from nmbrl.runtime.evaluation import evaluate
from nmbrl.runtime.loihi.counting import count
from nmbrl.runtime.loihi.trace import Trace
from nmbrl.runtime.run_command import main
from nmbrl.targets import load

# Of random populations.
SIZES = (("a", 5), ("b", 7))


def run(*arguments, command=main):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def bundle(run_path, tmp_path_factory):
    path = tmp_path_factory.mktemp("loihi") / "bundle"
    assert run(run_path, "--target", "loihi", "--out", path, command=convert_main).exit_code == 0
    return path


def test_an_evaluation_counts_its_own_messages_only(bundle):
    executor = load(bundle)
    first = evaluate(executor, episodes=1)
    executor.forget()
    second = evaluate(executor, episodes=1)
    assert first.counts == second.counts and first.messages.keys() == {"observe", "act"}
    for name, messages in first.messages.items():
        np.testing.assert_array_equal(second.messages[name], messages)
        assert messages.sum() > 0


def test_a_trace_holds_what_was_counted(bundle, tmp_path):
    files = ("--trace", tmp_path / "t.npz", "--trace-picture", tmp_path / "t.png")
    chosen = ("--trace-neurons", "act/in.h:0,3", "--trace-neurons", "observe/out.h")
    result = run(bundle, "--episodes", 1, *files, *chosen)
    assert result.exit_code == 0, result.output
    executor = load(bundle)
    tally = count(executor, "policy", 1, 0)
    decisions = len(tally.episodes[0].actions)
    with np.load(tmp_path / "t.npz") as trace:
        for function, network in executor.networks.items():
            for population in network.populations:
                name = f"messages/{function}/{population.name}"
                if function in ("observe", "act"):
                    assert trace[name].shape == (decisions * network.steps, population.size)
                    assert np.count_nonzero(trace[name]) == executor.counts[name]
        assert trace["decisions/act"].tolist() == np.repeat(range(decisions), executor.networks["act"].steps).tolist()
        # An input's potential is what the host gave: the sum of its messages.
        given = trace["potentials/act/in.h"]
        np.testing.assert_array_equal(given, np.cumsum(trace["messages/act/in.h"], axis=0)[:, [0, 3]])
        assert trace["neurons/act/in.h"].tolist() == [0, 3]
        assert [name for name in trace.files if name.startswith("potentials")] == [
            "potentials/observe/out.h",
            "potentials/act/in.h",
        ]
    assert imageio.imread(tmp_path / "t.png").std() > 0


def test_a_neuron_that_sends_often_in_a_decision_is_no_more_than_not_silent():
    random = np.random.default_rng(0)
    messages = {
        f"f/{name}": random.integers(-1, 2, (12, size)) * (random.random((12, size)) < 0.3) for name, size in SIZES
    }
    messages |= {"g/c": np.ones((4, 3), np.int32)}
    decisions = {"f": np.repeat([0, 1, 3], 4), "g": np.array([1, 1, 2, 2])}
    silent = Trace(messages, {}, {}, decisions).silent()
    for decision in range(4):
        called = {name: rows[decisions[name[0]] == decision] for name, rows in messages.items()}
        neurons = [column for rows in called.values() if len(rows) for column in rows.T]
        assert silent[decision] == pytest.approx(np.mean([not column.any() for column in neurons]))


def test_what_cannot_be_traced_is_one_line(bundle, run_path, tmp_path):
    for arguments, message in (
        ((bundle, "--trace-neurons", "act/none"), "no population 'act/none'"),
        ((bundle, "--trace-neurons", "act/in.h:99"), "has neurons 0 to"),
        ((bundle, "--trace-neurons", "act/in.h:x"), "give neurons as"),
        ((run_path,), "only Loihi bundles can be traced"),
    ):
        result = run(*arguments, "--episodes", 1, "--trace", tmp_path / "t.npz")
        assert result.exit_code == 2 and message in result.stderr, result.output
    assert not (tmp_path / "t.npz").exists()
