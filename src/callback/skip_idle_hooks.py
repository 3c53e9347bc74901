"""Lightning calls each hook of each callback at every step, also those that do nothing: a fifth of a small step."""

from pytorch_lightning import Callback, LightningModule, Trainer

EVERY_STEP = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)


class SkipIdleHooks(Callback):
    """Replace the hooks of a step that a callback does not define by None, which Lightning leaves out."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            for hook in EVERY_STEP:
                if getattr(type(callback), hook) is getattr(Callback, hook):
                    callback.__dict__.setdefault(hook, None)
