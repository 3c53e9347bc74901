"""Logger for TensorBoard: event files in the run folder, which need no server."""

import re
from pathlib import Path
from typing import Any

from numpy import ndarray
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from adapter.tensorboard import silence_writer_thread
from logger.run_logger import RunLogger
from process.text import escape_markdown

TEXTS = (".yaml", ".json")
# TensorBoard sorts charts by name: the prefix puts these of ours after train_loss, valid_accuracy and so on
WATCHED, WATCH = re.compile(r"(epoch|examples|grad_norm|lr|system)(/|$)"), "watch/"


class TensorBoard(RunLogger):
    """Logger of curves, images, histograms, hyperparameters beside final metrics, and the files that are text.

    Charts that show how the training runs are named `watch/lr`, `watch/grad_norm`, `watch/epoch`, `watch/system/...`.

    The final metrics of a finished run, whatever their names, become the columns of the HPARAMS page. A resumed run
    continues in the same folder, and hides the points after its checkpoint, which it logs again.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.hyperparameters: dict[str, int | float | str] = {}
        self.in_session = False  # the HPARAMS page has the hyperparameters

    def open(self) -> None:
        self._start(purge_step=None)

    def _start(self, purge_step: int | None) -> None:
        self.experiment = SummaryWriter(str(self.folder / "tensorboard"), purge_step=purge_step)
        silence_writer_thread(self.experiment)

    def resume_at(self, step: int) -> None:
        self.experiment.close()
        events = EventAccumulator(str(self.folder / "tensorboard"), size_guidance={"scalars": 1}).Reload()
        tags = events.Tags()["scalars"]
        self.recorded = {tag.removeprefix(WATCH): events.Scalars(tag)[-1].step for tag in tags}
        self._start(purge_step=step + 1)
        super().resume_at(step)

    def log_hyperparams(self, params: dict[str, Any], *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        plain = {name: value if isinstance(value, int | float | str) else str(value) for name, value in params.items()}
        self.hyperparameters |= plain

    def _begin_session(self) -> None:
        """Write the hyperparameters, once: the page shows the first ones that it finds."""
        if self.in_session or not self.hyperparameters:
            return
        self.in_session = True
        _, start, _ = hparams(self.hyperparameters, {})
        self.experiment.file_writer.add_summary(start)
        record = self.read_record()
        facts = {name: record[name] for name in ("comment", "tags", "command", "git", "host") if record.get(name)}
        lines = [f"- **{name}**: {escape_markdown(str(value))}" for name, value in facts.items()]
        self.experiment.add_text("run", "\n".join(lines))

    def log_metrics(self, metrics: dict[str, float], step: int, seconds: float) -> None:  # type: ignore[override]
        self._begin_session()
        for name, value in metrics.items():
            self.experiment.add_scalar(f"{WATCH}{name}" if WATCHED.match(name) else name, value, step, seconds)

    def log_image(self, name: str, image_HWC: ndarray, step: int) -> None:
        self.experiment.add_image(name, image_HWC, step, dataformats="HWC")

    def log_histogram(self, name: str, counts: ndarray, edges: ndarray, step: int) -> None:
        centers = (edges[:-1] + edges[1:]) / 2
        self.experiment.add_histogram_raw(
            name,
            min=float(edges[0]),
            max=float(edges[-1]),
            num=int(counts.sum()),
            sum=float(counts @ centers),
            sum_squares=float(counts @ centers**2),
            bucket_limits=edges[1:].tolist(),
            bucket_counts=counts.tolist(),
            global_step=step,
        )

    def log_artifact(self, path: Path) -> None:
        if path.suffix in TEXTS:
            text = path.read_text(encoding="utf-8")
            self.experiment.add_text(path.name, "".join(f"    {line}\n" for line in text.splitlines()))

    def flush(self) -> None:
        self.experiment.flush()

    def end(self, record: dict[str, Any]) -> None:
        self._begin_session()
        if record["status"] == "finished" and self.hyperparameters:
            names = sorted(record["metrics"], key=lambda name: "/" in name)  # the page shows the first five
            final = {f"final/{name}": record["metrics"][name] for name in names}
            for name, value in final.items():  # the page shows the last point of a curve
                self.experiment.add_scalar(name, value)
            columns, _, end = hparams(self.hyperparameters, final)
            self.experiment.file_writer.add_summary(columns)
            self.experiment.file_writer.add_summary(end)

    def close(self, record: dict[str, Any]) -> None:
        self.experiment.close()
