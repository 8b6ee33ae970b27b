"""int8 TFLite bundles: integer throughout, one scale a quantity, equal bits in both interpreters."""

import numpy as np
import pytest
import torch
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from nmbrl.convert.calibration import compute_samples
from nmbrl.convert.quantities import quantity, shared_ranges
from nmbrl.convert.tflite_lower import lower
from nmbrl.convert.tflite_quantise import check_shared, quantise_functions
from nmbrl.targets import NmbrlError, load
from nmbrl.targets.bundle import read_bundle
from nmbrl.targets.tflite import LARGEST_BATCH
from nmbrl.train.deployed import TorchExecutor


@pytest.fixture(scope="module")
def executor(tflite_bundle):
    return load(tflite_bundle)


def random_integers(bundle, function, batch, seed=0):
    random = np.random.default_rng(seed)
    return {
        tensor.name: random.integers(-128, 128, (batch, tensor.size)).astype(np.int8)
        for tensor in bundle.functions[function].inputs
    }


def test_every_tensor_is_an_integer_and_weights_have_a_scale_a_channel(tflite_bundle):
    for record in read_bundle(tflite_bundle).functions.values():
        model = schema.ModelT.InitFromPackedBuf((tflite_bundle / record.file).read_bytes())
        (graph,) = model.subgraphs
        used = {index for operator in graph.operators for index in (*operator.inputs, *operator.outputs)}
        assert {graph.tensors[index].type for index in used} <= {schema.TensorType.INT8, schema.TensorType.INT32}
        for operator in graph.operators:
            if model.operatorCodes[operator.opcodeIndex].builtinCode == schema.BuiltinOperator.FULLY_CONNECTED:
                weights = graph.tensors[operator.inputs[1]]
                assert len(weights.quantization.scale) == weights.shape[0]


def test_one_scale_a_quantity_everywhere(tflite_bundle):
    bundle = read_bundle(tflite_bundle)
    scales = {}
    for function, record in bundle.functions.items():
        for output, tensors in ((False, record.inputs), (True, record.outputs)):
            for tensor in tensors:
                key = quantity(bundle.interface, function, tensor.name, output)
                scales.setdefault(key, set()).add((tensor.scale, tensor.zero_point))
    assert {"x", "h", "a", "r", "v"} <= scales.keys()
    assert all(len(found) == 1 for found in scales.values()), scales
    if bundle.interface.task.action_kind == "box":
        assert scales["a"] == {(1 / 128, 0)}
    else:
        assert scales["c"] == {(1 / 256, -128)} and scales["logits"] != scales["a"]


def test_two_scales_for_a_quantity_are_an_error(tflite_bundle):
    bundle = read_bundle(tflite_bundle)
    act = bundle.functions["act"]
    wrong = act.inputs[1].model_copy(update={"zero_point": act.inputs[1].zero_point + 1})
    changed = act.model_copy(update={"inputs": (act.inputs[0], wrong)})
    with pytest.raises(NmbrlError, match="h cannot have one scale in all functions"):
        check_shared(bundle.interface, {**bundle.functions, "act": changed})


def test_feeding_the_state_back_is_exact(tflite_bundle, executor):
    """A rollout through floats is the rollout whose state stays in integers."""
    interface, records = executor.interface, executor.functions
    random = np.random.default_rng(1)
    integers = random_integers(read_bundle(tflite_bundle), "imagine", 3)
    outputs = {tensor.name: tensor for tensor in records["imagine"].outputs}
    state = interface.join({name: _real(integers[name], outputs[name]) for name in ("x", "h")})
    (action_tensor,) = (tensor for tensor in records["imagine"].inputs if tensor.name == "a")
    for _ in range(25):
        integers["a"] = random.integers(-128, 128, integers["a"].shape).astype(np.int8)
        state, reward, _ = executor.imagine(state, _real(integers["a"], action_tensor))
        given = executor.call_integers("imagine", integers)
        np.testing.assert_array_equal(reward, _real(given["r"], outputs["r"])[:, 0])
        for name in ("x", "h"):
            np.testing.assert_array_equal(interface.split(state)[name], _real(given[name], outputs[name]))
            integers[name] = given[name]
    assert np.unique(integers["h"]).size > 5


def _real(integers, tensor):
    return (np.float64(tensor.scale) * (integers.astype(int) - tensor.zero_point)).astype(np.float32)


def test_a_batch_gives_the_same_bits_as_its_samples(tflite_bundle, executor):
    bundle = read_bundle(tflite_bundle)
    for function in bundle.functions:
        inputs = random_integers(bundle, function, 2 * LARGEST_BATCH + 3)
        together = executor.call_integers(function, inputs)
        for row in (0, LARGEST_BATCH, 2 * LARGEST_BATCH + 2):
            single = executor.call_integers(function, {name: values[row : row + 1] for name, values in inputs.items()})
            for name, values in single.items():
                np.testing.assert_array_equal(values, together[name][row : row + 1])


def test_tflite_runtime_is_at_most_one_step_from_tflm(tflite_bundle, executor):
    """Its TANH reads a table that was built in float: now and then a step, which nothing in one call amplifies."""
    bundle = read_bundle(tflite_bundle)
    other = load(tflite_bundle, interpreter="tflite-runtime")
    for function in bundle.functions:
        inputs = random_integers(bundle, function, 500)
        there = other.call_integers(function, inputs)
        for name, values in executor.call_integers(function, inputs).items():
            difference = np.abs(values.astype(int) - there[name])
            assert difference.max() <= 1 and difference.mean() < 0.01, (function, name)


def test_outputs_are_within_a_few_steps_of_pytorch(small_run, tflite_bundle, executor):
    """The bound is loose for one step of 1/255 of the range a rounding, and far from what a wrong scale gives."""
    bundle, reference = read_bundle(tflite_bundle), TorchExecutor(small_run.model)
    inputs = {name: values[:200] for name, values in _recorded(small_run).items()}
    actual, expected = executor.call("imagine", inputs), reference.call("imagine", inputs)
    for tensor in bundle.functions["imagine"].outputs:
        steps = np.abs(actual[tensor.name] - expected[tensor.name]) / tensor.scale
        assert steps.mean() < 1.5 and steps.max() < 8, tensor.name
    for function, errors in bundle.measured["errors"].items():
        for name, entry in errors.items():
            assert entry["mean"] <= 0.05 * entry["range"] <= 0.05 * 10, (function, name)


def _recorded(small_run):
    normalised = small_run.model.interface.normalisation.normalise(small_run.calibration["o"][0, :-1])
    return {"x": normalised, "h": np.zeros((40, 12), np.float32), "a": small_run.calibration["a"][0]}


def test_the_bundle_records_sizes_and_arena(tflite_bundle):
    measured = read_bundle(tflite_bundle).measured
    for function, size in measured["bytes"].items():
        assert size == (tflite_bundle / f"{function}.tflite").stat().st_size
        # More than its activations, less than what fits the smallest boards.
        assert 500 < measured["arena_bytes"][function] < 16_384


def test_an_unknown_interpreter_is_an_error(tflite_bundle):
    with pytest.raises(NmbrlError, match=r"no interpreter 'abacus'; choose from tflm, tflite-runtime"):
        load(tflite_bundle, interpreter="abacus")


class Modal:
    """Deploys a categorical latent by its mode, which int8 TFLite does not quantise."""

    def value(self, x, h):
        mode = torch.nn.functional.one_hot(h.argmax(dim=1), h.shape[1]).float()
        return (self.critic(torch.cat([x, mode], dim=1)),)


def test_an_operation_that_is_not_int8_is_named(discrete_run):
    model = type("ModalModel", (Modal, type(discrete_run.model)), {})(0, discrete=True).eval()
    reference, samples = TorchExecutor(model), compute_samples(model, discrete_run.calibration)
    models = {"value": lower(model, "value")}
    with pytest.raises(NmbrlError, match=r"value cannot be int8 throughout: [A-Z_]+ is not quantised"):
        quantise_functions(model.interface, models, samples, shared_ranges(reference, samples))


def test_an_operation_that_tflite_lacks_is_named(discrete_run):
    class Singular(type(discrete_run.model)):
        def act(self, x, h):
            return (torch.linalg.eigvalsh(x[:, :, None] * x[:, None, :])[:, :2],)

    with pytest.raises(NmbrlError, match=r"act cannot be lowered to TFLite: .*eig") as error:
        lower(Singular(), "act")
    assert "\n" not in str(error.value)
