"""What is wrong with a .tflite file."""

from nmbrl.targets.errors import NmbrlError


class ModelError(NmbrlError):
    """A .tflite model that is malformed, or holds what the C runtime does not have; says what and where."""
