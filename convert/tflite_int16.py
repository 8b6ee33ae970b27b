"""Which operators of a function compute on int16 activations; weights stay int8 (16x8).

TensorFlow Lite Micro and TensorFlow Lite have int16 kernels for every operator that conversion emits (FULLY_CONNECTED
with int8 weights, ADD, SUB, MUL, LOGISTIC, TANH, CONCATENATION, SLICE, QUANTIZE), all of them with a zero point of 0.
"""

import re
from typing import Any

from ai_edge_quantizer import qtyping, recipe, recipe_manager

from nmbrl.convert.tflite_graph import Graph
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Interface

# What `nmbrl-convert --int16` takes.
CHOICES = ("state", "all")
Name = qtyping.TFLOperationName


def check_choice(int16: str | None) -> None:
    """Check an option's value; None is int8 throughout.

    Raises:
        NmbrlError: naming the choices.
    """
    if int16 is not None and int16 not in CHOICES:
        raise NmbrlError(f"no int16 activations {int16!r}; choose from {', '.join(CHOICES)}")


def wide_outputs(interface: Interface, graph: Graph, int16: str | None) -> set[str]:
    """Return the tensors that operators compute in int16.

    ``state``: what lies between the last layers and the next state, so that a state that is fed back is rounded to
    1/256 of a step of int8 while every multiplication with weights stays int8. ``all``: everything.

    Args:
        interface: names the segments of the state.
        graph: the float model of one function.
        int16: one of `CHOICES`, or None for int8 throughout.
    """
    if int16 is None:
        return set()
    if int16 == "all":
        return {node.output for node in graph.nodes}
    state = {segment.name for segment in interface.state}
    needed = {name for name in graph.outputs if name.removesuffix(":out") in state}
    wide = set()
    for node in reversed(graph.nodes):
        if node.output in needed and node.operator != "FULLY_CONNECTED":
            wide.add(node.output)
            needed.update(node.inputs)
    return wide


def make_recipe(wide: set[str], int16: str | None) -> list[dict[str, Any]]:
    """Return ai-edge-quantizer's recipe: int8, but int16 for the operators that write `wide` and at the boundary."""
    if int16 is None:
        return recipe.static_wi8_ai8()
    manager = recipe_manager.RecipeManager()
    manager.add_static_config(".*", Name.ALL_SUPPORTED, 8, 8)
    for name in sorted(wide):
        # A scope is the names of an operator's outputs, each followed by a semicolon.
        manager.add_static_config(f"^{re.escape(name)};?$", Name.ALL_SUPPORTED, 16, 8)
    for boundary in (Name.INPUT, Name.OUTPUT):
        manager.add_static_config(".*", boundary, 16, 8)
    return manager.get_quantization_recipe()
