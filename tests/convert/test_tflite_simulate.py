"""The simulation of integer models: reals as PyTorch has them where nothing is rounded, else what TFLM computes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nmbrl.convert.calibration import compute_samples
from nmbrl.convert.quantities import shared_ranges
from nmbrl.convert.tflite_graph import Steps
from nmbrl.convert.tflite_lower import lower
from nmbrl.convert.tflite_quantise import quantise_functions
from nmbrl.convert.tflite_simulate import SimulatedExecutor, Simulation, rescale, round_to
from nmbrl.targets import NmbrlError
from nmbrl.targets.tflite import TfliteExecutor
from nmbrl.train.deployed import TorchExecutor

INT8 = Steps(0.05, 3, -128, 127)


@pytest.fixture(scope="module")
def lowered(discrete_run, floats):
    """Float models, samples, int8 models and their records."""
    model = discrete_run.model
    samples = compute_samples(model, discrete_run.calibration)
    quantised = quantise_functions(model.interface, floats, samples, shared_ranges(TorchExecutor(model), samples))
    return floats, samples, {f: c for f, (c, _) in quantised.items()}, {f: r for f, (_, r) in quantised.items()}


def rounded_places(simulation):
    return {
        (function, name)
        for function, graph in simulation.graphs.items()
        for name in (*graph.steps, *(node.inputs[1] for node in graph.nodes if node.operator == "FULLY_CONNECTED"))
    }


def test_without_rounding_it_is_the_float_model(discrete_run, lowered):
    floats, samples, integers, _ = lowered
    simulation = Simulation(floats, integers)
    simulation.exact = rounded_places(simulation)
    executor = SimulatedExecutor(discrete_run.model.interface, {}, simulation)
    for function, inputs in samples.inputs.items():
        expected = TorchExecutor(discrete_run.model).call(function, inputs)
        for name, values in executor.call(function, inputs).items():
            np.testing.assert_allclose(values, expected[name], atol=2e-5)


def test_with_rounding_it_is_what_tflm_computes(discrete_run, lowered):
    """Now and then a step apart: products are formed in reals, tables are exact."""
    floats, samples, integers, records = lowered
    interface = discrete_run.model.interface
    simulated = SimulatedExecutor(interface, {}, Simulation(floats, integers))
    tflm = TfliteExecutor(interface, {}, records, integers)
    for function, inputs in samples.inputs.items():
        expected = tflm.call(function, inputs)
        found = simulated.call(function, inputs)
        for tensor in records[function].outputs:
            steps = np.abs(found[tensor.name] - expected[tensor.name]) / tensor.scale
            assert (steps < 0.5).mean() > 0.95 and steps.max() < 4.5, (function, tensor.name)


def test_a_recurrence_that_two_functions_share_is_one_set_of_weights(lowered):
    floats, _, integers, _ = lowered
    simulation = Simulation(floats, integers)
    weights = {
        function: [
            simulation.parameter(function, name)
            for node in graph.nodes
            if node.operator == "FULLY_CONNECTED"
            for name in node.inputs[1:]
        ]
        for function, graph in simulation.graphs.items()
    }
    shared = [one for one in weights["observe"] if any(one is other for other in weights["imagine"])]
    assert len(shared) == len(weights["observe"]) == 10, "the encoder, two gates, two halves of the candidate"
    assert len(list(simulation.parameters())) == 10 + 6 + 4 + 4, "three heads, and the layers of policy and value"


def test_gradients_pass_where_nothing_saturates():
    low, high = (-128 - 3) * 0.05, (127 - 3) * 0.05
    for function in (lambda v: round_to(INT8, v), lambda v: rescale(0.02, INT8, v)):
        values = torch.tensor([low - 1, low + 0.01, 0.123, high - 0.01, high + 1], requires_grad=True)
        function(values).sum().backward()
        assert values.grad.tolist() == [0, 1, 1, 1, 0]


def multiply(value: int, ratio: float) -> int:
    """MultiplyByQuantizedMultiplier of TensorFlow Lite on integers, as spelled out in its common.cc."""
    mantissa, exponent = math.frexp(ratio)
    multiplier = round(mantissa * 2**31)
    product = (value << max(exponent, 0)) * multiplier
    nudged = product + (2**30 if product >= 0 else 1 - 2**30)
    high = int(math.copysign(abs(nudged) // 2**31, nudged))
    right = max(-exponent, 0)
    mask, remainder = (1 << right) - 1, high & ((1 << right) - 1)
    return (high >> right) + (remainder > (mask >> 1) + (high < 0))


@given(st.floats(0.02, 8.0), st.integers(-100, 100), st.integers(-255, 255))
def test_rescaling_rounds_as_tflm_does(ratio, zero, value):
    source, target = 0.0078125, Steps(0.0078125 / ratio, zero, -128, 127)
    expected = min(max(multiply(value, source / target.scale) + zero, -128), 127)
    found = rescale(source, target, torch.tensor([value * source]))
    assert round(found.item() / target.scale) + zero == expected


def test_an_operator_that_is_not_simulated_is_named(discrete_run):
    class Other(type(discrete_run.model)):
        def act(self, x, h):
            return (torch.exp(x[:, :2] + 0.5),)

    content = lower(Other().eval(), "act")
    with pytest.raises(NmbrlError, match="act has the operator EXP, which is not simulated"):
        Simulation({"act": content}, {"act": content})
