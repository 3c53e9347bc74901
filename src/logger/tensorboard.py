"""TensorBoard: event files in the run folder, which every run leaves and nothing has to serve."""

from pathlib import Path
from typing import Any

from numpy import ndarray
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from logger.run_logger import RunLogger
from metrics import names

TEXTS = (".yaml", ".json")


class TensorBoard(RunLogger):
    """Curves, pictures, histograms, hyperparameters beside final metrics, and the files that are text.

    `metrics`: what is measured besides the loss, as in the config, for the columns of the HPARAMS page. A resumed run
    goes on in the same folder and hides the points after its checkpoint, which it draws again.
    """

    def __init__(self, folder: str, metrics: list[Any]) -> None:
        super().__init__(folder)
        self.metrics = names(metrics)
        self.experiment: SummaryWriter
        self.success: Any = None  # what the HPARAMS page is told when the run has finished

    def open(self) -> None:
        self._start(purge_step=None)

    def _start(self, purge_step: int | None) -> None:
        self.experiment = SummaryWriter(str(self.folder / "tensorboard"), purge_step=purge_step)
        file_writer = self.experiment._get_file_writer()
        # a full disk ends the writer's own thread: it is raised here at the next call, and need not be printed there
        file_writer.event_writer._async_writer._worker._invoke_excepthook = lambda thread: None

    def resume_at(self, step: int) -> None:
        self.experiment.close()
        events = EventAccumulator(str(self.folder / "tensorboard"), size_guidance={"scalars": 1}).Reload()
        self.recorded = {name: events.Scalars(name)[-1].step for name in events.Tags()["scalars"]}
        self._start(purge_step=step + 1)
        super().resume_at(step)

    def log_hyperparams(self, params: dict[str, Any], *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        plain = {name: value if isinstance(value, int | float | str) else str(value) for name, value in params.items()}
        tags = [f"{part}_{name}" for part in ("valid", "test") for name in ("loss", *self.metrics)]
        *start, self.success = hparams(plain, dict.fromkeys(["train_loss", "train_accuracy", *tags], 0))
        for summary in start:
            self.experiment._get_file_writer().add_summary(summary)
        record = self.read_record()
        said = {name: record[name] for name in ("comment", "tags", "command", "git", "host") if record.get(name)}
        self.experiment.add_text("run", "\n".join(f"- **{name}**: {value}" for name, value in said.items()))

    def log_metrics(self, metrics: dict[str, float], step: int, seconds: float) -> None:  # type: ignore[override]
        for name, value in metrics.items():
            self.experiment.add_scalar(name, value, step, seconds)

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

    def close(self, record: dict[str, Any]) -> None:
        if record["status"] == "finished" and self.success is not None:
            self.experiment._get_file_writer().add_summary(self.success)
        self.experiment.close()
