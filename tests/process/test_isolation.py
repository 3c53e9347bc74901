import os
import random
from contextlib import suppress

import numpy
import torch

from process.isolation import isolated

FACTS = {
    "python": random.getstate,
    "numpy": lambda: numpy.random.get_state()[1].tolist(),
    "torch": lambda: torch.get_rng_state().tolist(),
    "environment": lambda: [os.environ.get(name) for name in ("KEPT", "GONE", "PL_GLOBAL_SEED")],
    "threads": torch.get_num_threads,
    "matmul": torch.get_float32_matmul_precision,
    "dtype": torch.get_default_dtype,
    "deterministic": torch.are_deterministic_algorithms_enabled,
    "only warn": torch.is_deterministic_algorithms_warn_only_enabled,
    "benchmark": lambda: torch.backends.cudnn.benchmark,
    "cudnn": lambda: torch.backends.cudnn.deterministic,
}


def test_everything_is_as_it_was_also_after_an_error(monkeypatch):
    monkeypatch.setenv("KEPT", "before")
    monkeypatch.setenv("GONE", "before")
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    before = {name: fact() for name, fact in FACTS.items()}
    with suppress(ZeroDivisionError), isolated():
        random.seed(7)
        numpy.random.seed(7)
        torch.manual_seed(7)
        os.environ.update(KEPT="after", PL_GLOBAL_SEED="7")
        del os.environ["GONE"]
        torch.set_num_threads(before["threads"] + 1)
        torch.set_float32_matmul_precision("medium")
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = torch.backends.cudnn.deterministic = True
        changed = {name: fact() for name, fact in FACTS.items()}
        1 / 0  # noqa: B018
    assert not [name for name in FACTS if changed[name] == before[name]]
    assert {name: fact() for name, fact in FACTS.items()} == before
