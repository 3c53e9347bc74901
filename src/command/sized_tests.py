"""The test of a network of sets at several sizes of the set."""

from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytorch_lightning import LightningModule, Trainer


def largest_set(data: Any) -> int | None:
    """Return the number of elements of the largest test set; None for images, and for sets of unknown sizes."""
    lengths = getattr(data.source("test"), "lengths", None) if hasattr(data, "sized_dataloader") else None
    if lengths is None:
        return None
    limit, largest = getattr(data, "max_elements", None), int(lengths.max())
    return largest if limit is None else min(limit, largest)


def measure_sizes(
    trainer: "Trainer", model: "LightningModule", data: Any, sizes: Sequence[int], **settings: Any
) -> dict[str, float]:
    """Test with sets of each size, and return the results by name: {"test_mae/n=16": 1.5, ...}.

    The loss is among them only if nothing else is measured. Leaves out sizes that not every set can have, so that a
    result is that of one size, and models that do not name their results by a `name_suffix`. Callbacks that read the
    items of a test do not see these.

    Args:
        settings: of trainer.test.
    """
    found: dict[str, float] = {}
    if not hasattr(model, "name_suffix"):
        return found
    for size in sizes:
        loader = data.sized_dataloader("test", size)
        if loader is None or int(loader.dataset.source.lengths.min()) < size:  # type: ignore[union-attr]
            continue
        with _only(trainer, model, f"/n={size}"):
            (tested,) = trainer.test(model, loader, verbose=False, **settings)
        tested = {name: value for name, value in tested.items() if name.endswith(f"/n={size}")}
        others = {name: value for name, value in tested.items() if not name.endswith(f"loss/n={size}")}
        found |= others or tested
    return found


@contextmanager
def _only(trainer: "Trainer", model: Any, suffix: str) -> "Iterator[None]":
    """Let a test give its results names with this end, and hide it from callbacks that read the whole test."""
    from pytorch_lightning import Callback

    whole: Any = trainer
    callbacks, name_suffix, hooks = whole.callbacks, model.name_suffix, ("on_test_batch_end", "on_test_end")
    whole.callbacks = [
        each for each in callbacks if all(getattr(type(each), hook) is getattr(Callback, hook) for hook in hooks)
    ]
    model.name_suffix = suffix
    try:
        yield
    finally:
        whole.callbacks, model.name_suffix = callbacks, name_suffix
