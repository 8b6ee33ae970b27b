"""What a bundle is, what executes it, and what it costs there."""

from nmbrl.targets.errors import NmbrlError
from nmbrl.targets.interface import Executor, Interface
from nmbrl.targets.load import load

__all__ = ["Executor", "Interface", "NmbrlError", "load"]
