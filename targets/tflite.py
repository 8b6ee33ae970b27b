"""Running an integer TFLite bundle in TensorFlow Lite Micro or in tflite-runtime."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from tflite_micro import runtime as tflm
from tflite_runtime import interpreter as tflite_runtime

from nmbrl.targets.bundle import Bundle, Function
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.integers import Integers, dequantise, quantise
from nmbrl.targets.interface import Array, Executor, Interface
from nmbrl.targets.tflite_batch import activation_bytes, set_batch

# Samples that one invocation evaluates at most, and batch sizes whose interpreters are kept at once.
LARGEST_BATCH = 64
KEPT = 8
# Arena bytes beside the activations: tensor and node structures, kernel data, alignment.
ARENA_OVERHEAD = 1 << 17


class Model(ABC):
    """One .tflite model in one kind of interpreter, for any batch size.

    Args:
        content: the file, with batch 1.
        outputs: how many outputs it has.
    """

    def __init__(self, content: bytes, outputs: int) -> None:
        self._content = content
        self._outputs = outputs
        self._opened: dict[int, Any] = {}

    def run(self, inputs: list[Integers]) -> list[Integers]:
        """Evaluate arrays (batch, size) in the order of the model's inputs; give its outputs likewise."""
        batch = len(inputs[0])
        parts = [
            self._invoke(
                self._interpreter(min(LARGEST_BATCH, batch - start)),
                [values[start : start + LARGEST_BATCH] for values in inputs],
            )
            for start in range(0, batch, LARGEST_BATCH)
        ]
        return parts[0] if len(parts) == 1 else [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    def _interpreter(self, batch: int) -> Any:
        if batch not in self._opened:
            if len(self._opened) >= KEPT:
                del self._opened[next(iter(self._opened))]
            self._opened[batch] = self._open(bytes(set_batch(self._content, batch)))
        return self._opened[batch]

    @abstractmethod
    def _open(self, content: bytes) -> Any: ...

    @abstractmethod
    def _invoke(self, interpreter: Any, inputs: list[Integers]) -> list[Integers]: ...


class TflmModel(Model):
    """Runs in TensorFlow Lite Micro: the reference for every bit."""

    def _open(self, content: bytes) -> Any:
        return tflm.Interpreter.from_bytes(content, arena_size=activation_bytes(content) + ARENA_OVERHEAD)

    def _invoke(self, interpreter: Any, inputs: list[Integers]) -> list[Integers]:
        for index, values in enumerate(inputs):
            interpreter.set_input(values, index)
        interpreter.invoke()
        return [interpreter.get_output(index) for index in range(self._outputs)]


class TfliteRuntimeModel(Model):
    """Runs in tflite-runtime with its reference kernels, a step of int8 from TFLM now and then (XNNPACK more)."""

    def _open(self, content: bytes) -> Any:
        interpreter = tflite_runtime.Interpreter(
            model_content=content,
            num_threads=1,
            experimental_op_resolver_type=tflite_runtime.OpResolverType.BUILTIN_REF,
        )
        try:
            interpreter.allocate_tensors()
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise NmbrlError(f"tflite-runtime lacks a kernel that the model needs, use tflm ({reason})") from error
        inputs = [entry["index"] for entry in interpreter.get_input_details()]
        return interpreter, inputs, [entry["index"] for entry in interpreter.get_output_details()]

    def _invoke(self, interpreter: Any, inputs: list[Integers]) -> list[Integers]:
        opened, positions, outputs = interpreter
        for index, values in zip(positions, inputs, strict=True):
            opened.set_tensor(index, values)
        opened.invoke()
        return [opened.get_tensor(index) for index in outputs]


MODELS = {"tflm": TflmModel, "tflite-runtime": TfliteRuntimeModel}


class TfliteExecutor(Executor):
    """Evaluates each core function as an integer model; reals are quantised on the way in and back on the way out.

    A state that came out goes in again as the same integers, because each named quantity has one scale and zero point
    wherever it appears.

    Args:
        interface: shapes and constants of the model.
        macs: multiply-accumulates of one call of each function for one sample.
        functions: tensors of each function, in the order of its model's inputs and outputs.
        models: content of each function's .tflite file.
        interpreter: ``tflm`` or ``tflite-runtime``.

    Attributes:
        functions: as given.
    """

    def __init__(
        self,
        interface: Interface,
        macs: dict[str, int],
        functions: dict[str, Function],
        models: dict[str, bytes],
        interpreter: str = "tflm",
    ) -> None:
        super().__init__("tflite", interface, macs)
        self.functions = functions
        self._models = {
            name: MODELS[interpreter](content, len(functions[name].outputs)) for name, content in models.items()
        }

    def call(self, function: str, inputs: dict[str, Array]) -> dict[str, Array]:
        """Evaluate one core function; see `Executor.call`."""
        tensors = self.functions[function]
        outputs = self.call_integers(function, {t.name: quantise(inputs[t.name], t) for t in tensors.inputs})
        return {tensor.name: dequantise(outputs[tensor.name], tensor) for tensor in tensors.outputs}

    def call_integers(self, function: str, inputs: dict[str, Integers]) -> dict[str, Integers]:
        """Evaluate one core function on integers, by name; arrays (batch, size)."""
        tensors = self.functions[function]
        outputs = self._models[function].run([inputs[tensor.name] for tensor in tensors.inputs])
        return {tensor.name: values for tensor, values in zip(tensors.outputs, outputs, strict=True)}


def open_executor(path: Path, bundle: Bundle, interpreter: str = "tflm") -> TfliteExecutor:
    """Open a TFLite bundle that was read and verified.

    Args:
        path: the bundle's directory.
        bundle: its manifest.
        interpreter: ``tflm``, which defines every bit, or ``tflite-runtime``.

    Raises:
        NmbrlError: if there is no such interpreter.
    """
    if interpreter not in MODELS:
        raise NmbrlError(f"no interpreter {interpreter!r}; choose from {', '.join(MODELS)}")
    models = {name: (path / function.file).read_bytes() for name, function in bundle.functions.items()}
    return TfliteExecutor(bundle.interface, bundle.measured["macs"], dict(bundle.functions), models, interpreter)
