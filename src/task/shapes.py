"""Facts that a task takes from the data or gives them, computed without torch while the config is composed."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


def numbers(shape: Sequence[int]) -> int:
    """Return how many numbers an array of this shape holds: 1 for []."""
    return math.prod(shape)


def mixture(components: int, features: int) -> int:
    """Return how many numbers describe a mixture of normal distributions: a weight, F means, F widths for each."""
    return components * (1 + 2 * features)


def names(tasks: Mapping[str, Any]) -> str:
    """Return the names of the chosen tasks, joined by commas, for data that have the targets of several."""
    return ",".join(tasks)
