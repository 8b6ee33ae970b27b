"""Rows against each other, bit for bit."""

from types import SimpleNamespace

import numpy as np

from nmbrl.runtime.report.exactness import compare
from nmbrl.runtime.report.world import Followed


def followed(size: int, value: float) -> Followed:
    """A row whose belief has `size` numbers, at 3 decisions."""
    nothing = SimpleNamespace(observations=[], rewards=[])
    return Followed([np.zeros((3, size))], np.zeros((3, 1)), np.full(3, value), nothing)


def test_numbers_are_compared_where_beliefs_are_alike():
    rows = [followed(2, 0.0), followed(2, 1.0), followed(5, 0.0)]
    found = {one.rows: one for one in compare(("a", "b", "c"), [[], [], []], rows)}
    assert (found["a", "b"].numbers, found["a", "b"].numbers_differing) == (12, 3)
    for other in ("a", "b"):
        assert (found[other, "c"].numbers, found[other, "c"].numbers_differing) == (None, None)
