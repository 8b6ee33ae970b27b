"""Rewriting for int8: the structure changes, the real-valued function does not."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nmbrl.convert.tflite_rewrite import rewrite

aten = torch.ops.aten


def count(traced, target) -> int:
    return sum(node.target is target for node in traced.graph.nodes)


def layers(traced) -> list[int]:
    """Widths of the layers."""
    weights = [node.args[1] for node in traced.graph.nodes if node.target is aten.linear.default]
    return sorted(
        weight.meta["val"].shape[0] if "val" in weight.meta else _shape(traced, weight)[0] for weight in weights
    )


def _shape(traced, node):
    return dict(traced.named_buffers())[node.target].shape


class Sliced(nn.Module):
    def __init__(self, sizes, how):
        super().__init__()
        self.layer, self.sizes, self.how = nn.Linear(4, sum(sizes)), sizes, how

    def forward(self, x):
        y = self.layer(x)
        if self.how == "split":
            return y.split(self.sizes, dim=-1)
        bounds = [sum(self.sizes[:index]) for index in range(len(self.sizes) + 1)]
        if self.how == "narrow":
            return tuple(y.narrow(1, low, high - low) for low, high in itertools.pairwise(bounds))
        return tuple(y[..., low:high] for low, high in itertools.pairwise(bounds))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.sampled_from(["slice", "narrow", "split"]))
def test_a_sliced_layer_becomes_one_a_slice(sizes, how):
    module, x = Sliced(sizes, how), torch.randn(3, 4)
    traced = rewrite(module, (x,))
    assert layers(traced) == sorted(sizes)
    for part, expected in zip(traced(x), module(x), strict=True):
        torch.testing.assert_close(part, expected)


class ReadWhole(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 6)

    def forward(self, x):
        y = self.layer(x)
        return y[:, :3], y.tanh()


def test_a_layer_that_is_also_read_whole_stays():
    x = torch.randn(2, 4)
    assert layers(rewrite(ReadWhole(), (x,))) == [6]


class GruStep(nn.Module):
    """PyTorch's equations, from separate layers."""

    def __init__(self, size):
        super().__init__()
        self.cell = nn.GRUCell(3, size)
        self.inputs, self.recurrent = nn.Linear(3, 3 * size), nn.Linear(size, 3 * size)
        for layer, kind in ((self.inputs, "ih"), (self.recurrent, "hh")):
            layer.weight, layer.bias = getattr(self.cell, f"weight_{kind}"), getattr(self.cell, f"bias_{kind}")

    def forward(self, x, h):
        (ri, zi, ni), (rh, zh, nh) = self.inputs(x).chunk(3, 1), self.recurrent(h).chunk(3, 1)
        z, n = torch.sigmoid(zi + zh), torch.tanh(ni + torch.sigmoid(ri + rh) * nh)
        return n + z * (h - n)


@pytest.mark.parametrize("size", [1, 7])
def test_a_gru_step_keeps_its_result_with_fewer_roundings(size):
    step, x, h = GruStep(size), torch.randn(5, 3), torch.randn(5, size)
    traced = rewrite(step, (x, h))
    torch.testing.assert_close(traced(x, h), step.cell(x, h))
    # Two gates that add up their inputs in int32, and the two halves of the candidate, which a gate keeps apart.
    assert layers(traced) == [size] * 4
    assert count(traced, aten.add.Tensor) == 2
    assert count(traced, aten.sub.Tensor) == 0 and count(traced, aten.rsub.Scalar) == 1


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        y = self.layer(x)
        return x + y, x + y * (x - 1.0), torch.add(y, self.layer(x), alpha=2)


def test_other_sums_stay():
    module, x = Residual(), torch.randn(2, 4)
    traced = rewrite(module, (x,))
    assert count(traced, aten.add.Tensor) == 3
    for part, expected in zip(traced(x), module(x), strict=True):
        torch.testing.assert_close(part, expected)
