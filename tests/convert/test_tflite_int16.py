"""int16 activations: which tensors have them, that both interpreters run them, and that less is lost."""

import numpy as np
import pytest

from nmbrl.convert import tflite
from nmbrl.convert.tflite_graph import read_graph
from nmbrl.convert.tflite_simulate import SimulatedExecutor, Simulation
from nmbrl.targets import NmbrlError, load
from nmbrl.targets.bundle import read_bundle

# Of the largest value: tables of 512 segments and 15-bit multipliers differ between the two.
AGREEMENT = 1e-3


@pytest.fixture(scope="module", params=["state", "all"])
def choice(request):
    return request.param


@pytest.fixture(scope="module")
def bundle(choice, discrete_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("int16") / choice
    tflite.convert(discrete_run, path, int16=choice)
    return path


def test_every_boundary_is_int16_and_weights_are_int8(bundle, choice):
    manifest = read_bundle(bundle)
    assert manifest.provenance.options == {"int16": choice}
    for record in manifest.functions.values():
        assert {tensor.dtype for tensor in (*record.inputs, *record.outputs)} == {"int16"}
        assert {tensor.zero_point for tensor in (*record.inputs, *record.outputs)} == {0}
        graph = read_graph((bundle / record.file).read_bytes())
        assert graph.inputs == tuple(tensor.name for tensor in record.inputs)
        assert graph.outputs == tuple(f"{tensor.name}:out" for tensor in record.outputs)
        for node in graph.nodes:
            if node.operator == "FULLY_CONNECTED":
                assert graph.constants[node.inputs[1]].dtype == np.int8
                wide = {graph.steps[name].high == 32767 for name in (node.inputs[0], node.output)}
                assert wide == {choice == "all"}, "layers stay int8 unless all are asked for"


def test_state_is_computed_in_int16(bundle):
    graph = read_graph((bundle / "imagine.tflite").read_bytes())
    writer = {node.output: node for node in graph.nodes}
    for name in ("x:out", "h:out"):
        assert writer[name].operator == "ADD", "not a QUANTIZE of something coarser"
        assert all(graph.steps[part].high == 32767 for part in writer[name].inputs)


def test_less_is_lost_than_in_int8(bundle, choice, discrete_run, tmp_path):
    int8 = tflite.convert(discrete_run, tmp_path / "int8").measured["drift"]
    wide = read_bundle(bundle).measured["drift"]
    names = ("observation_1", "observation_5") if choice == "state" else ("observation_5", "action", "value")
    for name in names:
        assert wide[name] < 0.8 * int8[name], name


def test_a_fed_back_state_is_the_same_integers(bundle):
    executor = load(bundle)
    interface, record = executor.interface, executor.functions["imagine"]
    random = np.random.default_rng(0)
    scales = {tensor.name: tensor.scale for tensor in (*record.inputs, *record.outputs)}

    def real(name, integers):
        return (np.float64(scales[name]) * integers).astype(np.float32)

    integers = {t.name: random.integers(-20000, 20000, (3, t.size)).astype(np.int16) for t in record.inputs}
    state = interface.join({name: real(name, integers[name]) for name in ("x", "h")})
    for _ in range(25):
        integers["a"] = random.integers(-32768, 32768, integers["a"].shape).astype(np.int16)
        state, reward, _ = executor.imagine(state, real("a", integers["a"]))
        given = executor.call_integers("imagine", integers)
        np.testing.assert_array_equal(reward, real("r", given["r"])[:, 0])
        for name in ("x", "h"):
            np.testing.assert_array_equal(interface.split(state)[name], real(name, given[name]))
            integers[name] = given[name]
    assert np.unique(integers["h"]).size > 20


def test_tflite_runtime_agrees_or_says_what_it_lacks(bundle, choice):
    other, executor = load(bundle, interpreter="tflite-runtime"), load(bundle)
    random = np.random.default_rng(0)
    state = random.uniform(-1, 1, (50, executor.interface.state_size)).astype(np.float32)
    if choice == "state":
        with pytest.raises(NmbrlError, match=r"lacks a kernel that the model needs, use tflm .*QUANTIZE"):
            other.act(state)
        return
    action = np.eye(2, dtype=np.float32)[random.integers(2, size=50)]
    for found, expected in zip(other.imagine(state, action), executor.imagine(state, action), strict=True):
        np.testing.assert_allclose(found, expected, atol=AGREEMENT * np.abs(expected).max())


def test_the_simulation_computes_what_tflm_does(bundle, floats):
    executor = load(bundle)
    contents = {function: (bundle / record.file).read_bytes() for function, record in executor.functions.items()}
    simulated = SimulatedExecutor(executor.interface, {}, Simulation(floats, contents))
    state = np.random.default_rng(1).uniform(-1, 1, (200, executor.interface.state_size)).astype(np.float32)
    for found, expected in (
        (simulated.act(state), executor.act(state)),
        (simulated.value(state), executor.value(state)),
    ):
        assert np.abs(found - expected).mean() < 0.01 * np.abs(expected).max()


def test_an_unknown_choice_is_an_error(discrete_run, tmp_path):
    with pytest.raises(NmbrlError, match="no int16 activations 'some'; choose from state, all"):
        tflite.convert(discrete_run, tmp_path / "b", int16="some")
