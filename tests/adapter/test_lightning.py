"""Each private name of Lightning that src/adapter/lightning.py uses: these tests fail by the name that moved."""

import inspect

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.profilers import Profiler
from small_fit import Save, classifier, fit

from adapter import lightning


class Seen(Callback):
    """A callback that keeps the adapter's answer at the end of each batch, and the private names of the loops."""

    def __init__(self):
        self.steps, self.followed = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        loop = trainer.fit_loop
        for name in ("_data_fetcher", "_combined_loader_states_to_load", "_load_combined_loader_states", "_restarting"):
            assert hasattr(loop, name), name
        for name in ("_should_check_val_fx", "_should_accumulate", "_batches_that_stepped"):
            assert hasattr(loop.epoch_loop, name), name
        self.steps.append(lightning.logged_step(trainer))
        self.followed.append(lightning.another_batch_follows(trainer))


def test_the_loops_have_the_names(tmp_path):
    seen = Seen()
    fit([seen], [2] * 4, tmp_path, valid=[2], accumulate_grad_batches=2, val_check_interval=2)
    assert seen.steps == [0, 0, 1, 1]
    assert seen.followed == [False] * 4  # a pending step, a validation, a pending step, the end


def test_another_batch_follows_within_an_epoch(tmp_path):
    seen = Seen()
    fit([seen], [2] * 3, tmp_path)
    assert seen.followed == [True, True, False]


def test_checkpoints_have_the_names(tmp_path):
    path = tmp_path / "epoch.ckpt"
    fit([Save(path)], [2] * 3, tmp_path, valid=[2])
    checkpoint = torch.load(path, weights_only=True)
    assert lightning.logged_step_in(checkpoint) == 3
    assert lightning.epochs_in(checkpoint) == (1, 1)
    lightning.repeat_validation(checkpoint)
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
    assert (progress["total"]["ready"], progress["total"]["processed"]) == (1, 0)


def test_the_name_of_the_hook_is_an_attribute_of_the_module():
    assert hasattr(pl.LightningModule(), lightning.HOOK_NAME)


def test_fresh_optimizers_are_new_ones_in_one_form(tmp_path):
    model = classifier()
    trainer, _ = fit([], [2], tmp_path, model)
    (optimizer,), schedulers = lightning.fresh_optimizers(model)
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer is not trainer.optimizers[0]
    assert schedulers == []


def test_a_search_takes_its_own_bar_and_leaves_the_trainer_as_it_was(tmp_path, capsys):
    from pytorch_lightning.tuner import lr_finder

    model, steps, tqdm = classifier(), [], lr_finder.tqdm
    trainer, _ = fit([], [2, 2], tmp_path, model, valid=[2])
    assert trainer.callback_metrics
    with lightning.learning_rate_search(trainer, lambda: steps.append(1)):
        assert trainer.fit_loop.max_epochs == -1
        assert trainer.check_val_every_n_epoch > 1e9
        bar = lr_finder.tqdm(desc="", total=3)
        bar.update()
        bar.close()
    assert steps == [1]
    assert capsys.readouterr().err == ""
    assert (trainer.fit_loop.max_epochs, trainer.check_val_every_n_epoch, lr_finder.tqdm) == (1, 1, tqdm)
    assert not trainer.callback_metrics


def test_optimizers_and_precision_have_the_names_of_the_loss_scale():
    from pytorch_lightning.plugins.precision.amp import MixedPrecision

    assert "scaler" in inspect.signature(MixedPrecision).parameters
    weight = torch.zeros(2, requires_grad=True)
    assert torch.optim.SGD([weight], lr=0.1, fused=True)._step_supports_amp_scaling


def test_ranks_are_started_by_names_of_the_launcher():
    from pytorch_lightning.strategies.launchers import subprocess_script

    for name in ("_hydra_subprocess_cmd", "_launch_process_observer"):
        assert hasattr(subprocess_script, name), name


def test_is_a_profiler_that_lets_everything_pass():
    profiler = Trainer(accelerator="cpu", logger=False, profiler=lightning.no_profiler()).profiler
    assert isinstance(profiler, Profiler)
    with profiler.profile("outer"), profiler.profile("inner"):
        done = True
    assert done


class Counting(Callback):
    """The hook stands in the class itself or in the one that it comes from."""

    def __init__(self):
        self.batches = 0

    def on_train_batch_end(self, *_):
        self.batches += 1


class Inheriting(Counting):
    pass


@pytest.mark.parametrize("kind", [Counting, Inheriting])
def test_only_hooks_that_do_something_are_left(tmp_path, kind):
    counting = kind()
    fit([counting, lightning.skip_idle_hooks()], [2, 2, 2], tmp_path)
    assert counting.batches == 3
    assert {hook for hook in lightning.EVERY_STEP if getattr(counting, hook) is None} == {*lightning.EVERY_STEP} - {
        "on_train_batch_end"
    }


def test_a_hook_that_an_object_brings_itself_stays(tmp_path):
    seen, callback = [], Callback()
    callback.on_before_backward = lambda *_: seen.append(1)
    fit([callback, lightning.skip_idle_hooks()], [2, 2], tmp_path)
    assert seen == [1, 1]
