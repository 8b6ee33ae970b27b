"""ONNX bundles: equal to PyTorch, reproducible, and silent about the machine that made them."""

import numpy as np
import onnx
import pytest
import torch

from nmbrl.convert.onnx import OPSET, TOLERANCE, export
from nmbrl.targets import NmbrlError, load
from nmbrl.targets.bundle import read_bundle
from nmbrl.train.deployed import TorchExecutor


@pytest.mark.parametrize("batch", [1, 37])
def test_every_function_equals_pytorch_at_any_batch(discrete_run, onnx_bundle, batch):
    executor, reference = load(onnx_bundle), TorchExecutor(discrete_run.model)
    random = np.random.default_rng(batch)
    for function in executor.interface.functions:
        inputs = {
            name: random.normal(size=(batch, size)).astype(np.float32)
            for name, size in executor.interface.input_sizes(function).items()
        }
        actual, expected = executor.call(function, inputs), reference.call(function, inputs)
        assert actual.keys() == expected.keys()
        for name, values in expected.items():
            assert actual[name].dtype == np.float32
            np.testing.assert_allclose(actual[name], values, atol=TOLERANCE)


def test_the_bundle_records_its_errors(discrete_run, onnx_bundle):
    bundle = read_bundle(onnx_bundle)
    assert bundle.target == "onnx" and bundle.provenance.run == discrete_run.id
    for function in bundle.interface.functions:
        assert bundle.measured["macs"][function] == discrete_run.model.macs[function]
        assert bundle.measured["bytes"][function] == (onnx_bundle / f"{function}.onnx").stat().st_size
        errors = bundle.measured["errors"][function]
        assert errors.keys() == bundle.interface.output_sizes(function).keys()
        assert all(0 <= entry["mean"] <= entry["worst"] <= TOLERANCE for entry in errors.values())


def test_models_are_valid_and_say_nothing_about_their_maker(onnx_bundle):
    for function, record in read_bundle(onnx_bundle).functions.items():
        content = (onnx_bundle / record.file).read_bytes()
        model = onnx.load_model_from_string(content)
        onnx.checker.check_model(model, full_check=True)
        assert [entry.version for entry in model.opset_import if entry.domain == ""] == [OPSET]
        assert [entry.name for entry in model.graph.input] == [tensor.name for tensor in record.inputs]
        assert all(entry.type.tensor_type.shape.dim[0].dim_param for entry in model.graph.input), function
        assert b".py" not in content and b"site-packages" not in content


def test_the_same_model_gives_the_same_bytes(discrete_run, onnx_bundle):
    assert export(discrete_run.model, "act") == (onnx_bundle / "act.onnx").read_bytes()


def test_an_operation_that_onnx_lacks_is_named(discrete_run):
    class Singular(type(discrete_run.model)):
        def act(self, x, h):
            return (torch.linalg.eigvalsh(x[:, :, None] * x[:, None, :])[:, :2],)

    model = Singular()
    with pytest.raises(NmbrlError, match=r"act cannot be exported to ONNX: .*eig") as error:
        export(model, "act")
    assert "\n" not in str(error.value)
