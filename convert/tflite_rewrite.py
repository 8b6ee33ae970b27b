"""Rewriting a traced function so that int8 loses less; every rewriting keeps its real-valued result.

- A linear layer whose output is only sliced (the gates of a GRU, the predictions of a world model) becomes one layer a
  slice: parts whose ranges differ then have scales of their own, as every named output must.
- A sum of two linear layers becomes one layer of both inputs: int32 accumulates what int8 would round twice.
- ``n + z (h - n)`` becomes ``(1 - z) n + z h``: its products are no larger than n and h, where ``h - n`` is twice that.
"""

import operator
from typing import Any

import torch
from torch import fx, nn

aten = torch.ops.aten
SLICES = (aten.slice.Tensor, aten.narrow.default)
LISTS = (aten.chunk.default, aten.split.Tensor, aten.split_with_sizes.default)


def rewrite(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> fx.GraphModule:
    """Return an equal module, traced with `inputs`, that suits int8 better."""
    traced = torch.export.export(module, inputs).module()
    assert isinstance(traced, fx.GraphModule)
    for rewriting in (_split_layers, _join_layers, _separate_products):
        for node in list(traced.graph.nodes):
            rewriting(traced, node)
        traced.graph.eliminate_dead_code()
    traced.recompile()
    return traced


def _split_layers(traced: fx.GraphModule, layer: fx.Node) -> None:
    if layer.target is not aten.linear.default:
        return
    inputs, *parameters = layer.args
    for reader, rows in _rows_by_reader(layer).items():
        parts = [_parameter(traced, node)[rows] for node in parameters]
        reader.replace_all_uses_with(_layer(traced, layer, inputs, *parts))


def _rows_by_reader(layer: fx.Node) -> dict[fx.Node, torch.Tensor]:
    """Rows of a layer's weights that each reader of its output needs; empty if any reader needs them all."""
    # Every reader is applied to the numbers of the outputs, which are the numbers of the rows.
    numbers = torch.arange(layer.meta["val"].shape[-1]).expand(layer.meta["val"].shape)
    rows: dict[fx.Node, torch.Tensor] = {}
    for reader in layer.users:
        if reader.target in SLICES:
            rows[reader] = reader.target(numbers, *reader.args[1:], **reader.kwargs)[0]
        elif reader.target in LISTS:
            parts = reader.target(numbers, *reader.args[1:], **reader.kwargs)
            rows |= {getter: parts[getter.args[1]][0] for getter in reader.users if getter.target is operator.getitem}
        else:
            return {}
    return rows


def _join_layers(traced: fx.GraphModule, total: fx.Node) -> None:
    if total.target is not aten.add.Tensor or total.kwargs or not all(_layer_for_one(part) for part in total.args):
        return
    first, second = (part.args for part in total.args if isinstance(part, fx.Node))
    if len(first) != 3 or len(second) != 3:
        return
    with traced.graph.inserting_before(total):
        both = traced.graph.call_function(aten.cat.default, ([first[0], second[0]], -1))
    weight = torch.cat([_parameter(traced, first[1]), _parameter(traced, second[1])], dim=1)
    bias = _parameter(traced, first[2]) + _parameter(traced, second[2])
    total.replace_all_uses_with(_layer(traced, total, both, weight, bias))


def _layer_for_one(node: Any) -> bool:
    """Whether a node is a linear layer whose output one node reads."""
    return _is(node, aten.linear.default) and len(node.users) == 1


def _separate_products(traced: fx.GraphModule, total: fx.Node) -> None:
    if total.target is not aten.add.Tensor or total.kwargs:
        return
    sums: tuple[Any, ...] = total.args
    for n, product in (sums, sums[::-1]):
        if not _is(product, aten.mul.Tensor):
            continue
        for z, difference in (product.args, product.args[::-1]):
            if not _is(difference, aten.sub.Tensor) or difference.args[1] is not n:
                continue
            with traced.graph.inserting_before(total):
                rest = traced.graph.call_function(aten.rsub.Scalar, (z, 1.0))
                parts = [
                    traced.graph.call_function(aten.mul.Tensor, pair) for pair in ((rest, n), (z, difference.args[0]))
                ]
                total.replace_all_uses_with(traced.graph.call_function(aten.add.Tensor, tuple(parts)))
            return


def _is(node: Any, target: object) -> bool:
    return isinstance(node, fx.Node) and node.target is target


def _parameter(traced: fx.GraphModule, node: object) -> torch.Tensor:
    assert isinstance(node, fx.Node) and node.op == "get_attr"
    value = operator.attrgetter(str(node.target))(traced)
    return value.detach()


def _layer(traced: fx.GraphModule, before: fx.Node, inputs: Any, *parameters: torch.Tensor) -> fx.Node:
    """Insert a linear layer with new weights before a node."""
    nodes = []
    with traced.graph.inserting_before(before):
        for parameter in parameters:
            name = f"rewritten_{sum(1 for _ in traced.buffers())}"
            traced.register_buffer(name, parameter.clone())
            nodes.append(traced.graph.get_attr(name))
        return traced.graph.call_function(aten.linear.default, (inputs, *nodes))
