"""Nested settings as a flat sequence of dotted names and values: the one walk over a config."""

from collections.abc import Iterator, Mapping
from typing import Any


def leaves(node: Any, prefix: str = "", into_lists: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and the value of each setting; an empty mapping is a value too.

    Args:
        node: plain mappings, lists and values.
        prefix: the dotted name of `node` itself.
        into_lists: yield the values in a list one by one, under the name of the list, instead of the list.
    """
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from leaves(value, f"{prefix}.{key}" if prefix else str(key), into_lists)
    elif into_lists and isinstance(node, list):
        for value in node:
            yield from leaves(value, prefix, into_lists)
    else:
        yield prefix, node
