"""Private names of TensorBoard."""

from typing import Any


def silence_writer_thread(writer: Any) -> None:
    """Keep the thread that writes a SummaryWriter's file from printing a traceback: the next call raises its error."""
    writer.file_writer.event_writer._async_writer._worker._invoke_excepthook = lambda thread: None
