"""nmbrl-loihi, on a run whose policy has random weights."""

import json

import imageio.v3 as imageio
import pytest
from click.testing import CliRunner

from nmbrl.convert.command import main as convert_main
from nmbrl.convert.loihi_command import main
from nmbrl.targets import load
from nmbrl.targets.bundle import read_bundle


def run(*arguments, command=main):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def refused(*arguments, command=main):
    result = run(*arguments, command=command)
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.output
    return lines[0]


@pytest.fixture(scope="session")
def bundle(run_path, tmp_path_factory):
    path = tmp_path_factory.mktemp("loihi") / "bundle"
    result = run(run_path, "--target", "loihi", "--out", path, "--message-bits", 14, command=convert_main)
    assert result.exit_code == 0, result.output
    return path


def test_a_bundle_holds_its_placement(bundle):
    manifest, placement = read_bundle(bundle), load(bundle).placement
    assert manifest.measured["cores"] == placement.count() == dict.fromkeys(manifest.functions, 1)
    assert manifest.measured["bytes"] == {c.function: c.synaptic_bits // 8 for c in placement.cores}
    assert manifest.provenance.options["message_bits"] == 14


def test_a_placement_is_shown_drawn_and_written(bundle, tmp_path):
    for name in ("a.png", "b.png"):
        files = ("--picture", tmp_path / name, "--json", tmp_path / "p.json")
        result = run("place", bundle, "--neurons-a-core", 12, *files)
        assert result.exit_code == 0, result.output
    cores = json.loads((tmp_path / "p.json").read_text())["cores"]
    assert len(cores) > 8 and max(core["compartments"] for core in cores) <= 12
    assert f"Loihi 2: {len(cores)} of 128 cores" in result.stdout
    assert imageio.imread(tmp_path / "a.png").std() > 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_what_is_wrong_is_one_line(bundle, run_path, tmp_path):
    assert "Loihi 1: population in." in refused("place", bundle, "--chip", "loihi1")
    assert "bits of a message: 14, at most 1" in refused("place", bundle, "--chip", "loihi1")
    assert "unknown chip 'loihi9'" in refused("place", bundle, "--chip", "loihi9")
    assert "pictures are .png" in refused("place", bundle, "--picture", tmp_path / "x.bmp")
    assert "for pytorch, not for Loihi" in refused("place", run_path)
    arguments = (run_path, "--target", "loihi", "--out", tmp_path / "b", "--chip", "loihi1")
    assert "bits of a message: 16, at most 1" in refused(*arguments, command=convert_main)
    arguments = (run_path, "--target", "onnx", "--weight-bits", 4)
    assert "--weight-bits is no option of target onnx" in refused(*arguments, command=convert_main)


def test_counts_of_a_closed_loop_add_up(bundle, tmp_path):
    files = ("--json", tmp_path / "c.json", "--picture", tmp_path / "c.png")
    result = run("count", bundle, "--episodes", 3, *files)
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "c.json").read_text())
    decision = figures["per_decision"]
    for name in ("messages", "synaptic_operations", "neuron_updates"):
        for rows in (figures["populations"], figures["cores"]):
            assert sum(row[name] for row in rows) == pytest.approx(decision[name])
    assert sum(row["packets_in"] for row in figures["cores"]) == pytest.approx(decision["packets"])
    assert decision["observe"] == decision["act"] == 1
    sparsity = 1 - decision["messages"] / decision["possible_messages"]
    assert figures["neurobench"]["ActivationSparsity"] == pytest.approx(sparsity)
    assert figures["neurobench"]["SynapticOperations"]["Effective_MACs"] == decision["synaptic_operations"]
    assert figures["neurobench"]["SynapticOperations"]["Dense"] >= decision["synaptic_operations"]
    assert len(figures["sparsity_over_time"]) >= figures["decisions"] / 3
    # The first decision changes everything, the later ones little.
    assert figures["sparsity_over_time"][0] <= max(figures["sparsity_over_time"])
    assert [row["name"].split(",")[-1].strip() for row in figures["energy"]] == ["published", "fitted", "KerasSpiking"]
    assert "no published energy" in figures["label"] and figures["label"] in result.stdout
    assert f"{decision['synaptic_operations']:,.0f} synaptic operations" in result.stdout
    assert imageio.imread(tmp_path / "c.png").std() > 0


def test_counts_are_the_same_again_and_grow_with_a_planner(bundle, tmp_path):
    for name, extra in (("a", ()), ("b", ()), ("c", ("--planner", "shooting"))):
        assert run("count", bundle, "--episodes", 2, "--json", tmp_path / name, *extra).exit_code == 0
    a, b, c = (json.loads((tmp_path / name).read_text()) for name in "abc")
    assert a == b
    assert c["per_decision"]["imagine"] > 0 and c["latency"][0]["seconds"] > a["latency"][0]["seconds"]


def test_error_budgets_trade_operations_for_error(run_path, tmp_path):
    files = ("--json", tmp_path / "t.json", "--picture", tmp_path / "t.png")
    result = run("trade-off", run_path, "--budgets", "0,0.2", "--episodes", 2, *files)
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "t.json").read_text())
    exact, coarse = figures["rows"]
    assert (exact["error_budget"], coarse["error_budget"]) == (0, 0.2)
    assert coarse["synaptic_operations"] < exact["synaptic_operations"] and coarse["sparsity"] > exact["sparsity"]
    assert coarse["joules"] < exact["joules"]
    assert abs(exact["rollout_error"] - figures["float"]["rollout_error"]) < 0.1
    assert f"{coarse['synaptic_operations']:,.0f} synaptic operations" in result.stdout
    for row in (exact, coarse):
        assert sum(part["messages"] for part in row["populations"]) == pytest.approx(row["messages"])
        assert sum(part["neurons"] for part in row["populations"]) == row["possible_messages"]
        varied = row["return_varied"]
        assert row["kept_varied"] == pytest.approx(100 * varied / figures["float"]["return_varied"])
        assert row["interval_varied"][0] <= varied <= row["interval_varied"][1]
    assert result.stdout.count("sent of all possible messages: ") == 2
    assert imageio.imread(tmp_path / "t.png").std() > 0
    assert "is no list of numbers" in refused("trade-off", run_path, "--budgets", "a,b")
    assert "does not exist" in refused("trade-off", tmp_path / "none")


def test_without_thresholds_the_past_leaves_no_trace(bundle, tmp_path):
    result = run("drift", bundle, "--decisions", 300, "--json", tmp_path / "d.json")
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "d.json").read_text())
    assert len(rows) == 10 and rows[-1]["last"] == 290
    assert all(row["mean"] == row["largest"] == 0 for row in rows)
