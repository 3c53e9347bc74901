"""Where rank 0 leaves short texts for the others, before torch connects them: torchrun's store, or a folder."""

import atexit
import os
import shutil
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from run.atomic import explained, replacing


class Channel(Protocol):
    """Texts by name."""

    remedy: str  # where nothing comes
    ends_with_rank_zero: bool

    def put(self, name: str, text: str) -> None: ...

    def look(self, name: str) -> str | None: ...


class StoreChannel:
    """The key-value store of torchrun, which each of its starts has of its own."""

    remedy = "can this node reach MASTER_ADDR?"
    ends_with_rank_zero = False

    def put(self, name: str, text: str) -> None:
        self._store.set(self._key(name), text)

    def look(self, name: str) -> str | None:
        key = self._key(name)
        return self._store.get(key).decode() if self._store.check([key]) else None

    def _key(self, name: str) -> str:
        return f"patch_sets/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{name}"

    @cached_property
    def _store(self) -> Any:
        from torch.distributed import TCPStore

        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        return TCPStore(address, port, is_master=False, timeout=timedelta(seconds=60))


class FolderChannel:
    """A hidden folder in the working directory, named by the step of the SLURM job; rank 0 removes it at its end."""

    remedy = "does this node share the working directory with the first?"
    ends_with_rank_zero = True

    def __init__(self) -> None:
        names = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
        self.folder = Path(".ranks-" + "-".join(os.environ.get(name, "0") for name in names)).absolute()

    def put(self, name: str, text: str) -> None:
        if not self.folder.exists():
            with explained(self.folder):
                self.folder.mkdir()
            atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        with replacing(self.folder / name) as file:
            file.write(text)

    def look(self, name: str) -> str | None:
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
