"""Running an ONNX bundle with onnxruntime."""

from pathlib import Path

import numpy as np
import onnxruntime

from nmbrl.targets.bundle import Bundle
from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Array, Executor, Interface


class OnnxExecutor(Executor):
    """Evaluates each core function in an onnxruntime session of its own, on the CPU.

    Args:
        interface: shapes and constants of the model.
        macs: multiply-accumulates of one call of each function for one sample.
        models: serialised ONNX model of each function; inputs and outputs in the order of the interface.
        threads: threads of a session; one, because the models are small.
        target: name that reports show.
    """

    def __init__(
        self,
        interface: Interface,
        macs: dict[str, int],
        models: dict[str, bytes],
        threads: int = 1,
        target: str = "onnx",
    ) -> None:
        super().__init__(target, interface, macs)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._sessions = {
            function: onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            for function, model in models.items()
        }
        self._used = {
            function: [entry.name for entry in session.get_inputs()] for function, session in self._sessions.items()
        }

    def call(self, function: str, inputs: dict[str, Array]) -> dict[str, Array]:
        """Evaluate one core function; see `Executor.call`."""
        feed = {name: np.ascontiguousarray(inputs[name], np.float32) for name in self._used[function]}
        outputs = self._sessions[function].run(None, feed)
        return dict(zip(self.interface.output_sizes(function), outputs, strict=True))


def open_executor(path: Path, bundle: Bundle) -> OnnxExecutor:
    """Open an ONNX bundle that was read and verified.

    Raises:
        NmbrlError: if onnxruntime cannot load a model.
    """
    models = {name: (path / function.file).read_bytes() for name, function in bundle.functions.items()}
    try:
        return OnnxExecutor(bundle.interface, bundle.measured["macs"], models)
    except Exception as error:  # onnxruntime raises its own, undocumented classes
        raise NmbrlError(f"onnxruntime cannot load {path}: {str(error).splitlines()[0]}") from error
