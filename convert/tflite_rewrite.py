"""Rewriting a traced function so that int8 loses less.

A linear layer whose output is only sliced (the gates of a GRU, the predictions of a world model) becomes one layer a
slice, with the same weights and the same number of multiply-accumulates: parts whose ranges differ then have scales of
their own, as every named output must.
"""

import operator

import torch
from torch import fx, nn

aten = torch.ops.aten
SLICES = (aten.slice.Tensor, aten.narrow.default)
LISTS = (aten.chunk.default, aten.split.Tensor, aten.split_with_sizes.default)


def split_layers(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> fx.GraphModule:
    """Return an equal module, traced with `inputs`, in which no linear layer's output is only sliced."""
    traced = torch.export.export(module, inputs).module()
    assert isinstance(traced, fx.GraphModule)
    for node in list(traced.graph.nodes):
        if node.target is aten.linear.default:
            rows = _rows_by_reader(node)
            for index, (reader, taken) in enumerate(rows.items()):
                _replace(traced, node, reader, taken, index)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    return traced


def _rows_by_reader(node: fx.Node) -> dict[fx.Node, torch.Tensor]:
    """Rows of a layer's weights that each reader of its output needs; empty if any reader needs them all."""
    # Every reader is applied to the numbers of the outputs, which are the numbers of the rows.
    numbers = torch.arange(node.meta["val"].shape[-1]).expand(node.meta["val"].shape)
    rows: dict[fx.Node, torch.Tensor] = {}
    for reader in node.users:
        if reader.target in SLICES:
            rows[reader] = reader.target(numbers, *reader.args[1:], **reader.kwargs)[0]
        elif reader.target in LISTS:
            parts = reader.target(numbers, *reader.args[1:], **reader.kwargs)
            rows |= {getter: parts[getter.args[1]][0] for getter in reader.users if getter.target is operator.getitem}
        else:
            return {}
    return rows


def _replace(traced: fx.GraphModule, layer: fx.Node, reader: fx.Node, rows: torch.Tensor, index: int) -> None:
    """Give `reader`'s readers a layer of its own, with the given rows of `layer`'s weights."""
    inputs, *parameters = layer.args
    with traced.graph.inserting_before(layer):
        parts = []
        for parameter in parameters:
            assert isinstance(parameter, fx.Node)
            name = f"{parameter.name}_{index}"
            traced.register_buffer(name, traced.get_parameter(str(parameter.target)).detach()[rows].clone())
            parts.append(traced.graph.get_attr(name))
        part = traced.graph.call_function(aten.linear.default, (inputs, *parts))
    reader.replace_all_uses_with(part)
