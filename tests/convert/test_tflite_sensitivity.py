"""The sensitivity table: every rounded tensor once, the coarse ones first, layers by the model's names."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from nmbrl.convert import tflite
from nmbrl.convert.drift import DriftMeter
from nmbrl.convert.sensitivity_table import FILE, make_table
from nmbrl.convert.tflite_sensitivity import measure_sensitivity
from nmbrl.convert.tflite_simulate import Simulation
from nmbrl.targets.bundle import read_bundle
from nmbrl.train.deployed import TorchExecutor


@pytest.fixture(scope="module")
def short_run(discrete_run):
    """The discrete run with 16 recorded decisions: 8 are imagined."""
    return replace(
        discrete_run, calibration={n: v[:, : 17 if n == "o" else 16] for n, v in discrete_run.calibration.items()}
    )


@pytest.fixture(scope="module")
def bundle(short_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("sensitivity") / "bundle"
    tflite.convert(short_run, path, sensitivity=True)
    return path


@pytest.fixture(scope="module")
def table(bundle):
    return json.loads((bundle / FILE).read_text())


def test_the_simulation_departs_as_tflm_does(bundle, table):
    measured = read_bundle(bundle).measured["drift"]
    assert measured.keys() == table["rounded"].keys() == table["units"].keys()
    for name in ("observation_1", "observation_5", "action", "value"):
        assert table["rounded"][name] == pytest.approx(measured[name], rel=0.3)


def test_every_tensor_has_a_row(table):
    names = [(row["tensor"], row["kind"]) for row in table["rows"]]
    assert len(set(names)) == len(names)
    assert {row["tensor"] for row in table["rows"] if row["kind"] == "quantity"} == {
        "x",
        "h",
        "a",
        "r",
        "c",
        "v",
        "logits",
    }
    weights = {row["computation"].split("(")[0] for row in table["rows"] if row["kind"] == "weights"}
    # The converter may fold the factor of 0.1 into the layer before it, whose weights are then nobody's.
    assert weights - {"FULLY_CONNECTED", "head[0:3]"} == {
        "encode",
        "inputs[0:12] | recurrent[0:12]",
        "inputs[12:24] | recurrent[12:24]",
        "inputs[24:36]",
        "recurrent[24:36]",
        "head[3:4]",
        "head[4:5]",
        "policy.0",
        "policy.2",
        "critic.0",
        "critic.2",
    }
    for row in table["rows"]:
        assert (row["scale"] is None) == (row["kind"] == "weights")
        assert row["alone"].keys() == row["without"].keys() == table["rounded"].keys()


def test_rows_cost_where_their_function_is_read(table):
    for row in table["rows"]:
        function = row["tensor"].split()[0]
        if function in ("act", "value"):
            other = "value" if function == "act" else "act"
            cost = {"act": row["alone"]["action"], "value": row["alone"]["value"]}
            assert cost[function] > 1e-5 > cost[other] and row["alone"]["observation_5"] < 1e-5
        if function in ("observe", "imagine"):
            assert row["alone"]["action"] < 1e-5 and row["alone"]["value"] < 1e-5
    ranks = [row["alone"]["observation_5"] for row in table["rows"]]
    assert ranks == sorted(ranks, reverse=True)


def test_a_coarse_tensor_ranks_first_and_sparing_it_helps(short_run, floats, bundle):
    """The twist: a scale made 1,000 times as wide as it should be is found as the culprit."""
    model = short_run.model
    integers = {function: (bundle / f"{function}.tflite").read_bytes() for function in floats}
    simulation = Simulation(floats, integers)
    graph = simulation.graphs["imagine"]
    (residual,) = (node for node in graph.nodes if node.output == "x:out")
    (change,) = (name for name in residual.inputs if name != "x")
    number = [node.output for node in graph.nodes].index(change) + 1
    graph.steps[change] = replace(graph.steps[change], scale=1000 * graph.steps[change].scale)
    meter = DriftMeter(TorchExecutor(model), short_run.calibration)
    found = measure_sensitivity(model.interface, model, simulation, floats, meter)
    first = found.rows[0]
    assert (first.tensor, first.kind) == (f"imagine %{number}", "activation")
    assert first.without["observation_5"] < 0.5 * found.rounded["observation_5"]
    assert simulation.exact == ()


def test_the_printed_table_shows_the_costliest(bundle, table):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(make_table(bundle / FILE))
    text = console.export_text()
    assert "all together" in text and str(bundle / FILE) in text.replace("\n", "")
    first = table["rows"][0]
    assert f"{first['alone']['observation_5']:.2g}" in text
    assert "act %" in text and "value %" in text
