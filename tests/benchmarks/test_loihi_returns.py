"""What is kept of a return, against SciPy's bootstrap, what is sent for it, and the table."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from loihi_returns import compare, kept, main, table
from scipy import stats

from nmbrl.convert.loihi import convert
from nmbrl.train.run import open_run

RUN = Path(__file__).parents[2] / "examples" / "cartpole-swingup"


def test_an_equal_return_is_kept_whole():
    returns = np.random.default_rng(0).uniform(500, 900, 20)
    assert kept(returns, returns) == [1, 1, 1]
    np.testing.assert_allclose(kept(0.5 * returns, returns), 0.5)


def test_the_interval_is_of_pairs():
    random = np.random.default_rng(1)
    reference = random.uniform(100, 900, 20)
    returns = reference + random.normal(-10, 20, 20)
    share, low, high = kept(returns, reference)
    assert share == pytest.approx(returns.mean() / reference.mean())
    found = stats.bootstrap(
        (returns, reference),
        lambda one, other, axis: one.mean(axis) / other.mean(axis),
        paired=True,
        vectorized=True,
        method="percentile",
        random_state=np.random.default_rng(2),
    ).confidence_interval
    np.testing.assert_allclose((low, high), found, atol=2e-3)


def test_a_model_keeps_all_of_itself():
    rows = compare((RUN,), 1, 0)["rows"]
    row = rows[str(RUN)]
    assert row["native"]["kept"] == row["varied"]["kept"] == [1, 1, 1]
    assert row["native"]["mean"] > 800
    assert 0 < row["imagination"][1] < row["imagination"][15]
    heading, rule, line = table(rows).splitlines()
    assert line.startswith(f"| {RUN} | {row['native']['mean']:.1f} [")
    assert heading.count("|") == rule.count("|") == line.count("|")


def test_what_a_bundle_sends_is_that_of_its_decisions(tmp_path):
    """Of one native and one varied episode; docs/loihi.md has it of 20 of each."""
    convert(open_run(RUN), tmp_path / "bundle")
    rows = compare((RUN, tmp_path / "bundle"), 1, 0)["rows"]
    row = rows[str(tmp_path / "bundle")]
    assert 0.99 < row["native"]["kept"][0] < 1.01
    assert row["sparsity"] == pytest.approx(0.307, abs=0.03)
    assert row["synaptic_operations"] == pytest.approx(18_416, rel=0.05)
    assert table(rows).splitlines()[-1].endswith(f"| {row['sparsity']:.1%} | {row['synaptic_operations']:,.0f} |")


def test_models_of_different_tasks_are_one_line(small_bundles):
    done = CliRunner().invoke(main, [str(RUN), str(small_bundles(False)[0]), "--episodes", "1"])
    assert done.exit_code == 2
    assert f"has not the task of {RUN}: dm_control/cartpole-swingup-v0, action repeat 8" in done.stderr
