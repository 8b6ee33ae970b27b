"""Lowers a run to one target, verifies it against PyTorch, and writes a bundle."""

from nmbrl.convert.conversion import convert, target_names

__all__ = ["convert", "target_names"]
