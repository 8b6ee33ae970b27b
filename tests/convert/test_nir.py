"""NIR: exported graphs in snnTorch and Norse, imported graphs beside floating point, and what cannot be expressed."""

import dataclasses
import json

import nir
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from nmbrl.convert.loihi import convert
from nmbrl.convert.loihi.nir import export_bundle, import_file, write_graph
from nmbrl.convert.loihi.nir.exporting import drive, export_network, input_tensors
from nmbrl.convert.loihi.nir.graph import DT, discretise, read_graph
from nmbrl.convert.loihi.nir.importing import quantise
from nmbrl.convert.loihi.nir.report import roundings
from nmbrl.convert.loihi.nir.running import agreement, run
from nmbrl.convert.loihi.nir.simulation import simulate
from nmbrl.convert.loihi_command import main
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.load import load
from nmbrl.targets.loihi.host import read_host
from nmbrl.targets.loihi.network import LIF, Input, LIFReset, Network, Synapses, TernaryLIF
from nmbrl.targets.loihi.storage import read_network
from nmbrl.train.run import open_run

from .nir_networks import draw_given, draw_graph, draw_network, run_chip, run_norse, run_snntorch

seeds = st.integers(0, 2**32 - 1)


def held(network, given_):
    """What a graph of a network is fed so that it gets the given mantissas."""
    first = network.by_name["p0"]
    currents = given_ * 2.0**first.bias_exp / 64
    return drive(currents, (4095 - first.du) / 4096)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_a_network_comes_back_as_the_same_integers(seed):
    network = draw_network(seed)
    imported = quantise(discretise(export_network(network))).network
    for population in network.populations:
        if population.name == "y":
            continue
        other = imported.by_name[f"{population.name}.lif"]
        for name in ("du", "dv", "vth"):
            np.testing.assert_array_equal(getattr(other, name), getattr(population, name))
        np.testing.assert_array_equal(other.bias_mant << other.bias_exp, population.bias_mant << population.bias_exp)
    matrices = {(part.source, part.target): part.weights * 2.0**part.weight_exp for part in imported.synapses}
    for part in network.synapses:
        if part.target != "y":
            pair = f"{part.source}.lif", f"{part.target}.lif"
            np.testing.assert_array_equal(matrices.get(pair, 0), part.weights * 2.0**part.weight_exp)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_an_exported_graph_has_the_spikes_of_the_chip_but_for_truncation(seed):
    network = draw_network(seed)
    given_ = draw_given(seed, network, 60)
    graph, inputs = discretise(export_network(network)), {"x": held(network, given_)}
    chip, truncated, real = run_chip(network, given_), simulate(graph, inputs, truncate=True), simulate(graph, inputs)
    for name in network.by_name:
        key = "y" if name == "y" else f"{name}.lif"
        np.testing.assert_array_equal(truncated[key], chip[name])
        # Truncation moves spikes, and makes few.
        if name != "y":
            assert abs(real[key].sum() - chip[name].sum()) <= 0.05 * chip[name].sum() + 10


@pytest.mark.parametrize("run_other", [run_snntorch, run_norse])
@pytest.mark.parametrize("seed", [0, 2, 4, 5, 6, 7])
def test_other_simulators_run_an_exported_graph(run_other, seed, tmp_path):
    network = draw_network(seed, alike=True)
    write_graph(export_network(network), tmp_path / "n.nir")
    inputs = held(network, draw_given(seed, network, 60))
    found = run_other(nir.read(tmp_path / "n.nir"), inputs)
    expected = simulate(discretise(export_network(network)), {"x": inputs})["y"]
    # float32 and float64 part where a potential meets its threshold; that may happen, and seldom.
    assert np.ptp(expected) > 0 and np.mean(np.abs(found - expected) > 1e-3) < 0.02


@pytest.mark.parametrize("run_other", [run_snntorch, run_norse])
@pytest.mark.parametrize("cuba", [True, False])
def test_floating_point_is_what_other_simulators_compute(run_other, cuba):
    for seed in range(3):
        graph = draw_graph(seed, cuba, everything=False)
        inputs = (np.random.default_rng(seed).random((60, 2, graph.nodes["input"].input_type["input"][0])) < 0.4) * 1.0
        expected = simulate(discretise(graph), {"input": inputs})["output"]
        assert np.ptp(expected) > 0
        assert np.mean(np.abs(run_other(graph, inputs) - expected) > 1e-4) < 0.02


@settings(max_examples=25, deadline=None)
@given(seeds, st.booleans(), st.sampled_from(["spikes", "currents"]))
def test_an_imported_graph_fires_as_often_as_in_floating_point(seed, cuba, inputs):
    graph = discretise(draw_graph(seed, cuba))
    imported = quantise(graph, inputs, steps=3)
    random = np.random.default_rng(seed)
    shape = 200, 2, graph.inputs["input"]
    drawn = (random.random(shape) < 0.3) * 1.0 if inputs == "spikes" else random.normal(0, 0.3, shape)
    spikes = agreement(imported, {"input": drawn})
    # A spike that is early or late is not equal; one that is missing shows in the number.
    assert abs(spikes.found - spikes.expected) <= 0.1 * spikes.expected + 40
    plain, fast = (run(imported, {"input": drawn}, simulator) for simulator in ("numpy", "fast"))
    for name in fast:
        np.testing.assert_array_equal(plain[name], fast[name])
    for row in roundings(imported):
        assert row.decays <= 1 / 4096 and row.weights < 0.02
    # What the output gives for the spikes that the network has.
    found, weight = fast["second"], draw_graph(seed, cuba).nodes["out"]
    np.testing.assert_allclose(fast["output"], found @ weight.weight.T + weight.bias, atol=0.1)


def test_a_network_that_was_exported_runs_as_it_did(tmp_path):
    for seed in range(5):
        network = draw_network(seed, alike=True)
        given_ = draw_given(seed, network, 200)
        write_graph(export_network(network), tmp_path / "n.nir")
        imported = quantise(discretise(read_graph(tmp_path / "n.nir")), "currents")
        found, expected = run(imported, {"x": held(network, given_)}), run_chip(network, given_)
        for name in network.by_name:
            # What the host gives is rounded to a thousandth of what drives a neuron: spikes move, and few come or go.
            spikes = found["y" if name == "y" else f"{name}.lif"].sum(), expected[name].sum()
            assert abs(spikes[0] - spikes[1]) <= 0.05 * abs(spikes[1]) + 10


def test_a_network_of_snntorch_is_imported():
    import snntorch
    from snntorch.export_nir import export_to_nir

    torch.manual_seed(0)
    size = 12
    options = {
        "threshold": torch.full((size,), 0.5),
        "reset_mechanism": "zero",
        "reset_delay": False,
        "init_hidden": True,
    }
    model = torch.nn.Sequential(
        torch.nn.Linear(5, size),
        snntorch.Synaptic(alpha=torch.full((size,), 0.6), beta=torch.full((size,), 0.8), **options),
        torch.nn.Linear(size, size, bias=False),
        snntorch.Leaky(beta=torch.full((size,), 0.9), **options),
    )
    graph = export_to_nir(model, torch.zeros(5))
    spikes = (np.random.default_rng(0).random((200, 1, 5)) < 0.4) * 1.0
    with torch.no_grad():
        expected = np.stack([model(torch.tensor(now, dtype=torch.float32)).numpy() for now in spikes])
    imported = quantise(discretise(graph))
    (name,) = imported.network.outputs
    found = run(imported, {next(iter(imported.graph.inputs)): spikes})[name]
    assert expected.sum() > 100 and np.mean(found == expected) > 0.97


@pytest.mark.parametrize("bits", [2, 4, 8, 9])
def test_weights_have_the_bits_that_were_asked_for(bits, tmp_path):
    write_graph(draw_graph(0), tmp_path / "g.nir")
    report = import_file(tmp_path / "g.nir", tmp_path / "out", weight_bits=bits, chip="loihi1")
    network = read_network(tmp_path / "out" / "g.json")
    assert {part.weight_bits for part in network.synapses} == {bits}
    assert max(len(np.unique(part.weights)) for part in network.synapses) <= 1 << bits
    assert {part.name for part in report.imported.network.populations} == set(network.by_name)


def test_the_same_graph_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_graph(export_network(draw_network(3)), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.fixture(scope="module")
def bundle(run_path, tmp_path_factory):
    """A spiking student that was trained a little."""
    path = tmp_path_factory.mktemp("lif") / "bundle"
    convert(open_run(run_path), path, method="lif", updates=12, time_steps=3)
    return path


def test_a_student_is_the_same_function_in_nir(bundle, tmp_path):
    files = export_bundle(bundle, tmp_path)
    executor = load(bundle)
    interface, steps = executor.interface, executor.networks["act"].steps
    random = np.random.default_rng(0)
    for function, output in (("act", "a"), ("imagine", "r"), ("value", "v")):
        network, host = executor.networks[function], executor.host
        sizes = interface.input_sizes(function)
        # Numbers that the host need not round.
        inputs = {name: np.zeros((3, size), np.float32) for name, size in sizes.items()}
        tensors = input_tensors(network, host)
        inputs |= {name: (random.integers(-16, 17, (3, sizes[name])) / 8).astype(np.float32) for name in tensors}
        numbers = np.concatenate([*(inputs[name] for name in tensors), np.ones((3, 1))], axis=1)
        fed = drive(np.repeat(numbers[None], steps, axis=0), 0.5)
        graph = discretise(read_graph(files[function]))
        given_ = simulate(graph, {"input": fed}, truncate=True)["output"]
        # On the chip a readout gets the last step's spikes in the next decision, and its bias in each step.
        total = given_[:-1].sum(0) + graph.arriving["output"].constant
        expected = executor.call(function, inputs)
        start = 0
        for name, place in network.outputs.items():
            size = network.by_name[place.partition("/")[0]].size
            found = total[:, start : start + size] + (inputs[name] if name in host.changes else 0)
            start += size
            if name != "c":
                np.testing.assert_allclose(found, expected[name], atol=1e-6)
        assert start == total.shape[1] and output in network.outputs


def test_a_student_comes_back_as_the_same_integers(bundle, tmp_path):
    export_bundle(bundle, tmp_path)
    executor = load(bundle)
    for function, name in (("act", "policy"), ("observe", "world"), ("value", "critic")):
        network = executor.networks[function]
        report = import_file(tmp_path / f"{function}.nir", tmp_path / "out", inputs="currents")
        imported = read_network(tmp_path / "out" / f"{function}.json")
        assert imported.steps == network.steps and report.agreement.found > 0
        for field in ("du", "dv", "vth"):
            ours = getattr(network.by_name[name], field)
            np.testing.assert_array_equal(getattr(imported.by_name[f"{name}.lif"], field), ours)
        (ours,) = [part for part in network.synapses if part.source == part.target == name]
        (found,) = [part for part in imported.synapses if part.source == part.target]
        np.testing.assert_array_equal(found.weights * 2.0**found.weight_exp, ours.weights)
        host, encoder = read_host(tmp_path / "out" / "host.json"), executor.host.encoders[name]
        numbers = np.random.default_rng(0).normal(0, 0.5, (50, encoder.weights.shape[1]))
        tensors, sizes = encoder.tensors, executor.interface.input_sizes(function)
        split = dict(zip(tensors, np.split(numbers, np.cumsum([sizes[t] for t in tensors])[:-1], axis=1), strict=True))
        population, other = network.by_name[name], imported.by_name[f"{name}.lif"]
        expected = (encoder.encode(split) + population.bias_mant) << population.bias_exp
        given_ = host.encoders[f"{name}.lif"].encode({"input": np.append(numbers, np.ones((50, 1)), axis=1)})
        assert np.abs((given_ << other.bias_exp) - expected).max() <= 2 << population.bias_exp[0]


def test_what_is_no_student_is_one_line(run_path, tmp_path):
    convert(open_run(run_path), tmp_path / "sigma-delta")
    message = refused("nir", tmp_path / "sigma-delta", "--out", tmp_path / "out")
    assert "NIR has no graded or signed spikes" in message and "(input)" in message
    assert "does not exist" in refused("nir", tmp_path / "none", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def alone(population, **fields):
    network = draw_network(0)
    first = network.by_name["p0"]
    values = {name: getattr(first, name) for name in ("du", "dv", "bias_mant", "bias_exp", "vth")}
    return Network((population("p0", first.size, **{**values, **fields}),), (), {"x": "p0"}, {"y": "p0"}, 1)


def delayed(network, **fields):
    return dataclasses.replace(network, synapses=tuple(dataclasses.replace(s, **fields) for s in network.synapses))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda: Network((Input("in.x", 2),), (), {"x": "in.x"}, {"y": "in.x"}, 1), "graded .* in.x \\(input\\)"),
        (lambda: alone(LIFReset, reset_interval=3), "timed resets, as p0 \\(lif_reset\\)"),
        (lambda: alone(TernaryLIF, vth_lo=np.full(draw_network(0).by_name["p0"].size, -9, np.int32)), "ternary_lif"),
        (lambda: alone(LIF, dv=np.zeros(draw_network(0).by_name["p0"].size, np.int32)), "p0 do not leak"),
        (lambda: delayed(draw_network(1), delay=2), "have a delay of 2"),
    ],
)
def test_what_nir_cannot_express_is_named(network, message):
    with pytest.raises(NmbrlError, match=message):
        export_network(network())


def test_paths_of_different_length_are_named():
    network = next(n for n in map(draw_network, range(50)) if "p2" in n.by_name)
    shortcut = Synapses("p0", "p2", np.zeros((network.by_name["p2"].size, network.by_name["p0"].size), np.int32))
    with pytest.raises(NmbrlError, match="from p0 to p2 end a path that is longer or shorter"):
        export_network(dataclasses.replace(network, synapses=(*network.synapses, shortcut)))


def edit(**fields):
    graph = draw_graph(0)
    graph.nodes.update(fields)
    return graph


def lif(tau=10 * DT, size=None, **fields):
    ones = np.ones(size or draw_graph(0).nodes["first"].v_threshold.size)
    values = {"tau": tau * ones, "r": ones, "v_leak": 0 * ones, "v_threshold": ones, **fields}
    return nir.LIF(**values)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (lambda: edit(first=nir.Threshold(threshold=np.ones(3))), "node first is a Threshold; Input, Output, Affine"),
        (lambda: edit(first=lif(tau=DT / 2)), "tau of first is 5e-05 s, shorter than a step of 0.0001 s"),
        (lambda: edit(first=lif(size=11)), "first|shapes do not fit"),
        (lambda: edit(a=nir.Linear(weight=np.ones((3, 11)))), "shapes do not fit at input to a|shapes do not fit at a"),
        (lambda: edit(input=nir.Input({"input": np.array([2, 3])})), "input has shape \\(2, 3\\); vectors"),
        (
            lambda: edit(first=lif(v_threshold=np.full(draw_graph(0).nodes["first"].v_threshold.size, -1.0))),
            "below its reset",
        ),
        (
            lambda: nir.NIRGraph({"input": nir.Input({"input": np.array([2])})}, [], type_check=False),
            "it needs an Input, an Output",
        ),
    ],
)
def test_what_cannot_be_imported_is_named(graph, message):
    with pytest.raises(NmbrlError, match=message):
        quantise(discretise(graph()))


def refused(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 2 and result.stderr.count("\n") == 1, result.output
    return result.stderr


def test_commands_write_files_or_one_line(tmp_path):
    write_graph(draw_graph(1), tmp_path / "g.nir")
    result = CliRunner().invoke(main, ["import", str(tmp_path / "g.nir"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0 and "of the same neuron in the same step" in result.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["g.json", "g.npz", "host.json", "host.npz"]
    structure = json.loads((tmp_path / "out" / "g.json").read_text())
    assert {row["kind"] for row in structure["populations"]} == {"lif"}
    for arguments, message in (
        ((tmp_path / "none.nir",), "does not exist; give a .nir file"),
        ((tmp_path / "out" / "g.json",), "holds no NIR graph"),
        ((tmp_path / "g.nir", "--weight-bits", 9), "--weight-bits is 9; Loihi 2 has 8"),
        ((tmp_path / "g.nir", "--weight-bits", 0), "--weight-bits is 0; it must be in 2 to 9"),
        ((tmp_path / "g.nir", "--inputs", "images"), "unknown inputs 'images'"),
        ((tmp_path / "g.nir", "--dt", 0), "dt is 0.0; it must be positive"),
        ((tmp_path / "g.nir", "--dt", 0.01), "shorter than a step of 0.01 s"),
        ((tmp_path / "g.nir", "--chip", "loihi3"), "loihi3"),
        ((tmp_path / "g.nir", "--steps", 0), "--steps is 0"),
    ):
        assert message in refused("import", *arguments, "--out", tmp_path / "no")
    assert not (tmp_path / "no").exists()
