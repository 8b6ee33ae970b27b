"""The student's arithmetic: its integers are the simulator's, its gradients those of plain PyTorch with snnTorch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from snntorch import surrogate

from nmbrl.convert.loihi.lif.arithmetic import SLOPE, Neuron, run_neurons, weights_through
from nmbrl.convert.loihi.lif.population import BIAS_EXP, NEURON
from nmbrl.targets.loihi.network import LIF, Network, Synapses, weight_range
from nmbrl.targets.loihi.simulator import Simulator


def draw(seed, batch, size, bits=8):
    """Bias mantissas, u, v and recurrent weights."""
    random = np.random.default_rng(seed)
    low, high, step = weight_range("mixed", bits)
    weights = np.clip(random.normal(0, 80, (size, size)) // step * step, low, high).astype(np.int32)
    u, v = random.integers(-30_000, 30_000, (2, batch, size)).astype(np.int32)
    return random.integers(-900, 2500, (batch, size)).astype(np.int32), u, v, weights


@given(seed=st.integers(0, 1000), size=st.integers(1, 24), steps=st.integers(1, 9), bits=st.integers(1, 9))
def test_the_integers_are_those_of_the_simulator(seed, size, steps, bits):
    bias, u, v, weights = draw(seed, 3, size, bits)
    numbers = (torch.from_numpy(array).float() for array in (bias << BIAS_EXP, u, v, weights))
    counts, current, potential = run_neurons(*numbers, NEURON, steps)

    def every(number):
        return np.full(size, number, np.int32)

    mantissa, threshold = every(0), NEURON.vth << 6
    decays = {"du": every(NEURON.du), "dv": every(NEURON.dv)}
    lif = LIF("n", size, **decays, bias_mant=mantissa, bias_exp=every(BIAS_EXP), vth=every(NEURON.vth))
    synapses = Synapses("n", "n", weights, weight_bits=bits, binary=True)
    simulator = Simulator(Network((lif,), (synapses,), {"n": "n"}, {"n": "n"}, steps), batch=3)
    before = v > threshold
    places = {"n/u": u, "n/v": np.where(before, 0, v), "n/arriving": before.astype(np.int32) @ weights.T, "n": bias}
    sent = [simulator.step(places if t == 0 else None)["n"] for t in range(steps)]
    np.testing.assert_array_equal(counts.numpy(), before + sum(sent[:-1], np.zeros_like(u)))
    np.testing.assert_array_equal(current.numpy(), simulator.read("n/u"))
    np.testing.assert_array_equal(potential.numpy() > threshold, sent[-1])
    np.testing.assert_array_equal(np.where(sent[-1], 0, potential.numpy()), simulator.read("n/v"))


def plain(bias, u, v, weights, neuron: Neuron, steps):
    """The same in PyTorch's own differentiable operations, with snnTorch's surrogate."""
    spike = surrogate.fast_sigmoid(slope=SLOPE)
    counts = 0
    for _ in range(steps):
        s = spike(v / neuron.threshold - 1).to(v.dtype)
        v = v * (1 - s.detach())
        counts = counts + s
        u = through(neuron.keep_u * u) + 64 * s @ weights.t()
        v = through(neuron.keep_v * v) + u + bias
    return counts, u, v


def through(x):
    return x + (torch.trunc(x) - x).detach()


@pytest.mark.parametrize("steps", [1, 4, 7])
def test_the_gradients_are_those_of_plain_pytorch_with_snntorch(steps):
    bias, u, v, weights = draw(3, 5, 12)
    random = torch.Generator().manual_seed(0)
    factors = [torch.randn(5, 12, generator=random, dtype=torch.float64) for _ in range(3)]
    gradients = []
    for function, kind in ((run_neurons, torch.float32), (plain, torch.float64)):
        inputs = [torch.from_numpy(a).to(kind).requires_grad_() for a in (bias << BIAS_EXP, u, v, weights)]
        outputs = function(*inputs, NEURON, steps)
        total = sum((factor * out).sum() for factor, out in zip(factors, outputs, strict=True))
        gradients.append(torch.autograd.grad(total, inputs))
    for ours, theirs in zip(*gradients, strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-6 * float(theirs.abs().max()))


@pytest.mark.parametrize("bits", range(1, 10))
def test_weights_are_what_synapses_hold(bits):
    low, high, step = weight_range("mixed", bits)
    real = torch.linspace(-400, 400, 1601, requires_grad=True)
    whole = weights_through(real, bits)
    assert set(whole.tolist()) == set(range(low, high + 1, step))
    inside = (real >= low) & (real <= high)
    assert ((whole - real).abs()[inside] <= step / 2).all()
    whole.sum().backward()
    assert torch.equal(real.grad, inside.float())
