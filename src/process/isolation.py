"""Isolation of sweep jobs that run in one process: each begins with the same global state as the first."""

import gc
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

# prefixes of variables that Lightning sets; the other new ones come from imports, which happen once for all jobs
JOB_PREFIXES = ("PL_", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_", "CUBLAS_WORKSPACE_CONFIG")


@contextmanager
def isolated() -> Iterator[None]:
    """Restore random states, environment and torch's settings after the block, and free the memory it leaves."""
    import numpy
    import torch

    environment = dict(os.environ)
    states = random.getstate(), numpy.random.get_state(), torch.get_rng_state()
    threads, precision, dtype = torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.get_default_dtype()
    deterministic = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    try:
        yield
    finally:
        for name in os.environ.keys() - environment.keys():
            if name.startswith(JOB_PREFIXES):
                del os.environ[name]
        os.environ.update(environment)
        random.setstate(states[0])
        numpy.random.set_state(states[1])
        torch.set_rng_state(states[2])
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
        torch.set_default_dtype(dtype)
        torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn
        gc.collect()  # trainers, models and loggers refer to each other in circles
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
