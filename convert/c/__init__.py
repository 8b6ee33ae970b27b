"""Lowering int8 .tflite models to C99 for the runtime in `runtime/c`."""
