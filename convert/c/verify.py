"""Bit-exactness of generated code: random integers through TensorFlow Lite Micro and through C."""

from collections.abc import Mapping

import numpy as np

from nmbrl.targets.bundle import Function
from nmbrl.targets.c import CExecutor
from nmbrl.targets.tflite import TflmModel

ROWS = 256


def count_differences(
    executor: CExecutor, models: Mapping[str, bytes], records: Mapping[str, Function], rows: int = ROWS, seed: int = 0
) -> dict[str, int]:
    """Return how many output integers of each function differ from TFLM's on uniformly random inputs.

    Args:
        executor: the generated code.
        models: the .tflite file of each function.
        records: names of their inputs and outputs, in order.
        rows: random inputs a function.
        seed: of the random inputs.
    """
    random = np.random.default_rng(seed)
    interface = executor.interface
    differences = {}
    for function, record in records.items():
        sizes = interface.input_sizes(function)
        given = {n: random.integers(-128, 128, (rows, size), np.int8) for n, size in sizes.items()}
        expected = TflmModel(models[function], len(record.outputs)).run([given[t.name] for t in record.inputs])
        actual = executor.call_integers(function, given)
        differences[function] = sum(
            int((actual[t.name] != array).sum()) for t, array in zip(record.outputs, expected, strict=True)
        )
    return differences
