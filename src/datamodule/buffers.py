"""Memory for batches of vectors, which is used again."""

import threading
import weakref

import numpy as np
import torch
from torch import Tensor

SPARE = 1.25  # of what is asked for: the next batch may be larger


class Buffers:
    """Memory that is used again as soon as no tensor refers to it.

    Fresh memory costs a page fault for every 4 KiB: to fill it takes several times as long as to copy a file into it.
    A tensor of NumPy's memory keeps the array alive, for as long as it or a view of it exists, so a weak reference to
    the array says whether the memory is free.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = np.dtype(np.float16 if dtype == torch.float16 else np.float32)
        self._memory: list[tuple[np.ndarray, weakref.ref[np.ndarray]]] = []
        self._lock = threading.Lock()

    def empty(self, count: int, features: int) -> Tensor:
        """Return a tensor [count, features] of any values."""
        size = count * features
        with self._lock:
            free = [number for number, (_, last) in enumerate(self._memory) if last() is None]
            fitting = [number for number in free if self._memory[number][0].size >= size]
            number = next(iter(fitting or free), len(self._memory))
            whole = self._memory[number][0] if fitting else np.empty(int(SPARE * size), self.dtype)
            used = whole[:size].reshape(count, features)
            self._memory[number : number + 1] = [(whole, weakref.ref(used))]
            return torch.from_numpy(used)

    def __getstate__(self) -> dict[str, torch.dtype]:
        return {"dtype": torch.float16 if self.dtype == np.float16 else torch.float32}

    def __setstate__(self, state: dict[str, torch.dtype]) -> None:
        self.__init__(state["dtype"])  # type: ignore[misc]
