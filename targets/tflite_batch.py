"""Giving a .tflite model another batch size: the leading 1 of every activation's shape becomes `batch`."""

import numpy as np
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema


def set_batch(content: bytes, batch: int) -> bytearray:
    """Return a copy of a model, all of whose activations are (1, size), that evaluates `batch` samples at once.

    Shapes of tensors without constant data are changed in place, and so are the constant sizes that SLICE takes.
    Everything else in the file stays as it is.
    """
    changed = bytearray(content)
    model = schema.Model.GetRootAs(changed, 0)
    for index in range(model.SubgraphsLength()):
        graph = model.Subgraphs(index)
        for number in range(graph.TensorsLength()):
            tensor = graph.Tensors(number)
            if tensor.ShapeLength() == 2 and not model.Buffers(tensor.Buffer()).DataLength():
                tensor.ShapeAsNumpy()[0] = batch
        for number in range(graph.OperatorsLength()):
            operator = graph.Operators(number)
            code = model.OperatorCodes(operator.OpcodeIndex())
            if max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) == schema.BuiltinOperator.SLICE:
                size = model.Buffers(graph.Tensors(operator.Inputs(2)).Buffer()).DataAsNumpy()
                size.view(np.int32)[0] = batch
    return changed


def activation_bytes(content: bytes) -> int:
    """Return the bytes of all activations of a model together: no arena for them needs to be larger."""
    model = schema.Model.GetRootAs(content, 0)
    total = 0
    for index in range(model.SubgraphsLength()):
        graph = model.Subgraphs(index)
        for number in range(graph.TensorsLength()):
            tensor = graph.Tensors(number)
            if tensor.ShapeLength() and not model.Buffers(tensor.Buffer()).DataLength():
                total += 4 * int(np.prod(tensor.ShapeAsNumpy(), dtype=np.int64))
    return total
