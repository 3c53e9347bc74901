"""TensorBoard still has the names that adapter/tensorboard.py uses."""

import threading

import pytest
from torch.utils.tensorboard import SummaryWriter

from adapter.tensorboard import silence_writer_thread


@pytest.fixture
def writer(tmp_path):
    writer = SummaryWriter(str(tmp_path))
    yield writer
    writer.close()


def test_the_names_are_there(writer):
    found = writer.file_writer
    for name in ("event_writer", "_async_writer", "_worker"):
        assert hasattr(found, name), f"adapter/tensorboard.py needs {type(found).__name__}.{name}, which has moved"
        found = getattr(found, name)
    assert isinstance(found, threading.Thread)
    assert hasattr(found, "_invoke_excepthook"), "adapter/tensorboard.py needs Thread._invoke_excepthook of CPython"


def test_a_thread_that_fails_prints_nothing_and_the_next_call_raises(writer, capfd, monkeypatch):
    worker = writer.file_writer.event_writer._async_writer._worker
    silence_writer_thread(writer)
    monkeypatch.setattr(worker._record_writer, "write", lambda data: (_ for _ in ()).throw(OSError(28, "no space")))
    writer.add_scalar("a", 1.0, 0)
    worker.join(10)
    with pytest.raises(OSError, match="no space"):
        writer.add_scalar("a", 2.0, 1)
    writer.file_writer = writer.all_writers = None
    assert "Traceback" not in capfd.readouterr().err
