"""The entries of a checkpoint that resume= reads: types and sizes, before Lightning restores anything from them."""

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from run.data_file import DEEPEST
from run.fields import (
    COUNT,
    FLAG,
    NUMBER,
    SCORES,
    SECONDS,
    TEXT,
    Kind,
    list_of,
    mapping_of,
    mapping_with,
    text,
    wrong_entry,
)

MOST_VALUES = 1_000_000  # of a checkpoint, a tensor counted as one: lists that share their parts stand for 10^9
NEEDED = ("state_dict", "loops", "run_state", "callbacks", "optimizer_states", "lr_schedulers")
NEEDED_OF_RUN = ("loggers", "random", "settings", "should_stop")


def wrong_state(checkpoint: dict[str, Any]) -> str | None:
    """Return what of a checkpoint cannot be resumed from, in words; None if all entries have their types."""
    if missing := [name for name in NEEDED if name not in checkpoint]:
        return f"it has no {missing[0]}"
    return wrong_entry(checkpoint, CHECKPOINT)


def is_small(value: Any) -> bool:
    """Return whether a loaded object is nested less than a few dozen deep, and holds a limited number of values."""
    waiting, left = [(value, DEEPEST)], MOST_VALUES
    while waiting:
        node, depth = waiting.pop()
        if isinstance(node, Mapping | list | tuple | set):
            left -= len(node)
            if depth == 0 or left < 0:
                return False
            waiting += [(each, depth - 1) for each in (node.values() if isinstance(node, Mapping) else node)]
    return True


def other_kind(before: Any, after: Any, name: str) -> str | None:
    """Return the name of the first value whose kind a restored state has changed; None stands for any kind."""
    if before is None or after is None:
        return None
    if isinstance(before, Mapping):
        shared = [key for key in before if key in after] if isinstance(after, Mapping) else []
        found = (other_kind(before[key], after[key], f"{name}.{key}") for key in shared)
        return name if not isinstance(after, Mapping) else next(filter(None, found), None)
    if isinstance(before, list | tuple):
        if not isinstance(after, list | tuple):
            return name
        return next(filter(None, (other_kind(*pair, name) for pair in zip(before, after, strict=False))), None)
    if isinstance(before, bool | str):
        return None if isinstance(after, type(before)) else name
    return None if not is_scalar(before) or is_scalar(after) else name


def is_scalar(value: Any) -> bool:
    """Return whether a value is a number, or a tensor of one."""
    if isinstance(value, int | float):
        return not isinstance(value, bool)
    return is_dense(value) and value.numel() == 1 and not value.is_complex()


def is_dense(value: Any) -> bool:
    """Return whether a value is a plain tensor with numbers: not sparse, quantised, nested or without a device."""
    import torch

    if not isinstance(value, torch.Tensor) or value.is_nested or value.layout != torch.strided:
        return False
    return not (value.is_meta or value.is_quantized)


def _is_progress(value: Any) -> bool:
    """Return whether a value holds nothing but counts, flags, and lists and mappings of them."""
    if isinstance(value, dict):
        return all(
            _is_loop_state(part) if str(name).endswith("state_dict") else _is_progress(part)
            for name, part in value.items()
        )
    if isinstance(value, list):
        return all(map(_is_progress, value))
    return value is None or isinstance(value, bool) or COUNT.test(value)


def _is_loop_state(state: Any) -> bool:
    """Return whether a value has the position of this project's loaders; a loader of one's own may save anything."""
    if not isinstance(state, dict) or not COUNT.test(state.get("_batches_that_stepped", 0)):
        return False
    loaders = state.get("combined_loader", [])
    own = [each for each in loaders if isinstance(each, dict) and each.keys() <= {"epoch", "batch"}]
    return isinstance(loaders, list) and all(map(_is_progress, own))


def _is_random_state(states: Any) -> bool:
    """Return whether generators of Python, NumPy and torch take each of the states, one per rank."""
    import numpy
    import torch

    def setting(state: Any) -> None:
        version, internal, gauss = state["python"]
        random.Random().setstate((version, tuple(internal), gauss))
        kind, keys, *rest = state["numpy"]
        numpy.random.RandomState().set_state((kind, keys.numpy().astype("uint32"), *rest))
        torch.Generator().set_state(state["torch"])
        if not all(is_dense(each) and each.dtype == torch.uint8 and each.dim() == 1 for each in state["cuda"]):
            raise TypeError

    try:
        for state in states:
            setting(state)
        return isinstance(states, list) and len(states) > 0
    except Exception:  # each of the three libraries has its own errors
        return False


def _is_optimizer(state: Any) -> bool:
    """Return whether a value has the form of an optimizer's state, with dense tensors and plain values."""
    if not isinstance(state, dict) or not isinstance(state.get("state"), dict):
        return False
    groups, states = state.get("param_groups"), state["state"].values()
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        return False
    return all(isinstance(each, dict) and all(map(_is_optimizer_value, each.values())) for each in states)


def _is_optimizer_value(value: Any) -> bool:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return all(map(_is_optimizer_value, value))
    if value is None or isinstance(value, bool | str) or NUMBER.test(value):
        return True
    return is_dense(value) and not value.is_complex()


def _is_sums(rows: Any) -> bool:
    """Return whether a value holds the sums of training_log.py, for each rank (None: rank 0 has them)."""
    if not isinstance(rows, list) or not rows:
        return False
    parts = [row[kind] for row in rows if row is not None for kind in ("step", "epoch")]
    pairs = [pair for part in parts for pair in part.values()]
    return all(len(pair) == 2 and all(map(is_scalar, pair)) for pair in pairs)


def _is_callback(state: Any) -> bool:
    """Return whether a value is a mapping and, if it is that of a ModelCheckpoint, has scores and paths."""
    if not isinstance(state, dict) or "best_k_models" not in state:
        return isinstance(state, dict)
    scores = [*state["best_k_models"].values(), *(v for name, v in state.items() if name[-6:] in ("_score", "_value"))]
    paths = [*state["best_k_models"], *(path for name, path in state.items() if name.endswith("_path"))]
    if not all(score is None or is_scalar(score) for score in scores) or not all(map(_is_checkpoint_path, paths)):
        return False
    return COUNT.or_null().test(state.get("best_epoch")) and SCORES.test(state.get("best_metrics", {}))


def _is_checkpoint_path(path: Any) -> bool:
    """Return whether a value is a path without `..`: Lightning removes the checkpoints that it replaces."""
    return isinstance(path, str) and ".." not in Path(path).parts


def _safely(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return the test with False where the value is of a form that the test cannot look into."""

    def tested(value: Any) -> bool:
        try:
            return test(value)
        except Exception:  # of a tensor in place of a mapping, for example, torch raises a RuntimeError
            return False

    return tested


# -1: nothing was logged yet
POSITION = Kind("a whole number >= -1", lambda value: COUNT.test(value) or (type(value) is int and value == -1))
RUN_STATE = {
    "random": Kind("a list of states of random generators", _is_random_state),
    "loggers": mapping_of(mapping_of(POSITION)),
    "metrics": SCORES,
    "validated_epoch": COUNT.or_null(),
    "should_stop": FLAG,
    "seconds": mapping_with({"seconds": SECONDS, "cpu_seconds": SECONDS}),
    "lr": NUMBER.or_null(),
    "settings": TEXT,
}
CHECKPOINT = {
    "epoch": COUNT,
    "global_step": COUNT,
    "pytorch-lightning_version": text(100),
    "loops": Kind("counts of epochs and batches", _safely(lambda value: type(value) is dict and _is_progress(value))),
    "callbacks": mapping_of(Kind("the state of a callback", _safely(_is_callback))),
    "optimizer_states": list_of(Kind("the state of an optimizer", _safely(_is_optimizer))),
    "lr_schedulers": list_of(Kind("a mapping", lambda value: isinstance(value, dict))),
    "run_state": mapping_with(RUN_STATE, NEEDED_OF_RUN),
    "training_log": mapping_with(
        {"lr": NUMBER.or_null(), "sums": Kind("the sums of the losses and metrics of each rank", _safely(_is_sums))}
    ),
}
