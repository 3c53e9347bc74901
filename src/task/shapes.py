"""The number of outputs that a task asks of a network, computed without torch while the config is composed."""

import math
from collections.abc import Sequence


def numbers(shape: Sequence[int]) -> int:
    """Return how many numbers an array of this shape holds: 1 for []."""
    return math.prod(shape)


def mixture(components: int, features: int) -> int:
    """Return how many numbers describe a mixture of normal distributions: a weight, F means, F widths for each."""
    return components * (1 + 2 * features)
