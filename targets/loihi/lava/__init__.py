"""Lava as the oracle: the same network, run by Lava's own models in a process of its own."""
