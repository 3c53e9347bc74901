"""A fault that a config can name: the process gets no more memory."""

import torch
from faults import Fault


class NoMemory(Fault):
    """More memory than any machine has, asked for by `who`: torch, Python, or nobody."""

    def __init__(self, who: str, batch: int = 1, during: str = "train") -> None:
        super().__init__(batch, during)
        self.who = who

    def happen(self) -> None:
        if self.who == "torch":
            torch.empty(2**47)
        elif self.who == "python":
            bytearray(2**62)
