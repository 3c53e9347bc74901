"""An interrupted and resumed run equals an uninterrupted one bit for bit, in weights and metrics.csv."""

import json
import random
import re
import shutil

import pytest
import torch
import warm
from module_run import trained
from resumed import LAST, SAVING, SHORT, assert_same, weights
from runs import REPOSITORY, record

NETWORKS = sorted(path.stem for path in (REPOSITORY / "config" / "model").glob("*.yaml"))
FEW = {"cnn", "patch_set"}  # with and without patches
SOME_NETWORKS = [name if name in FEW else pytest.param(name, marks=pytest.mark.long) for name in NETWORKS]
NEVER_BETTER = ("scheduler=plateau", "scheduler.scheduler.patience=0", "+scheduler.scheduler.threshold=100")


@pytest.fixture(scope="module")
def finished_cnn(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("cnn"), *SHORT, "model=cnn", "hparams.max_epochs=2", "loggers=none")


@pytest.fixture
def finished(finished_cnn, tmp_path):
    """A copy of a finished run of two epochs, which the test may change."""
    return shutil.copytree(finished_cnn, tmp_path / "finished")


# five steps in an epoch, as with SHORT, of half as many images, and less of what only measures
SMALL = ("data.limit_train=150", "hparams.batch_size=32", "sizes=[2]", "+trainer.limit_val_batches=3")


@pytest.mark.parametrize("network", SOME_NETWORKS)
def test_every_network_from_the_middle_of_an_epoch(train, broken_off, resume, network):
    options = (*SHORT, *SAVING, *SMALL, f"model={network}", "hparams.max_epochs=2", "loggers=none")
    whole, broken = train(*options), broken_off(*options, batch=8)
    assert record(broken)["status"] == "failed"
    assert resume(broken) == 0
    assert_same(whole, broken)


CANVAS = ("model=canvas", "hparams.patch_size=3", "hparams.patch_num_max=4", "sizes=[2]")
FEW_PATCHES = ("hparams.patch_size=3", "hparams.patch_num_max=4", "model.network.selection.stride=1", "sizes=[2]")
THUMBNAIL = ("model.network.selection.scale=1",)
MOMENTS = [("train", 0), ("train", 1), ("train", 5), ("train", 9), ("validation", 1), ("validation", 3), ("test", 1)]


@pytest.mark.long
def test_wherever_it_was_broken_off(train, broken_off, resume):
    options = (*SHORT, *SAVING, "model=cnn", "hparams.patience=1", "data.crop_padding=1")
    whole = train(*options)
    for during, batch in MOMENTS:
        broken = broken_off(*options, batch=batch, during=during)
        assert resume(broken) == 0
        assert_same(whole, broken)


@pytest.mark.long
@pytest.mark.parametrize(
    "options",
    [
        ("scheduler=none", "model=vgg11_bn", "data.num_workers=2"),
        ("scheduler=cosine", "trainer.accumulate_grad_batches=2"),
        NEVER_BETTER,
        ("+trainer.val_check_interval=2", "hparams.optimizer=SGD", "+optimizer.momentum=0.9"),
        ("+trainer.check_val_every_n_epoch=2", "hparams.patience=5"),
        ("data.valid=0",),
        ("data.balanced=true", "+loss.weight=[1,2,3,4,5,6,7,8,9,10]"),
        ("data.num_workers=2", "data.split_seed=${hparams.seed}"),
        ("hparams.lr=0",),
        ("hparams.lr=0", "hparams.embed_lr=0.1x", "model=patch_set", *CANVAS[1:]),
        ("hparams.embed_lr=0.01", "model=patch_set", *CANVAS[1:], *NEVER_BETTER),
        ("model/selection=fixed", *CANVAS),
        ("model/selection=glimpse", *CANVAS),
        ("model/selection=reinforce", *CANVAS),
        ("model/selection=ips", "model=attention_mil", "model.network.selection.noise=1", *FEW_PATCHES),
        ("model/selection=attention_sampling", "model=patch_set", "hparams.pool=[mean]", *THUMBNAIL, *FEW_PATCHES),
        ("model/selection=topk", "model=patch_set", *THUMBNAIL, *FEW_PATCHES),
        ("trainer.precision=bf16-mixed",),
        ("trainer.precision=bf16-true",),
        ("trainer.precision=16-true",),
    ],
    ids=lambda options: "-".join(options[:2]),
)
def test_whatever_else_has_a_state(train, broken_off, resume, options):
    options = (*SHORT, *SAVING, "model=cnn", "loggers=none", *options)
    whole, broken = train(*options), broken_off(*options, batch=7)
    assert resume(broken) == 0
    assert_same(whole, broken)


@pytest.mark.long
@pytest.mark.parametrize("batch", [7, 13], ids=["before", "after"])
def test_places_are_frozen_where_the_whole_run_froze_them(train, broken_off, resume, batch):
    two_stages = ("model/selection=glimpse", "model.network.selection.freeze_at=0.5", "hparams.max_epochs=4")
    two_stages += ("model.network.selection.read=true", "data.warp=0.1")
    options = (
        *SHORT,
        *SAVING,
        *SMALL,
        *CANVAS,
        *two_stages,
        "scheduler=two_cycles",
        "loggers=none",
    )  # five steps in an epoch
    whole, broken = train(*options), broken_off(*options, batch=batch)
    assert resume(broken) == 0
    assert_same(whole, broken)


@pytest.mark.parametrize("saved", [False, True])
def test_a_killed_worker_is_one_line_and_the_run_continues(train, broken_off, resume, command, capsys, tmp_path, saved):
    """The line has the command that continues the run, if it has a checkpoint."""
    options = (*SHORT, *(SAVING if saved else ()), "model=cnn", "loggers=none", "hparams.max_epochs=2")
    broken = broken_off(*options, "data.num_workers=2", batch=4, fault="KillWorker")
    said = capsys.readouterr().err
    remedy = f"; to continue: python src/train.py resume={broken.relative_to(tmp_path)}\n"
    # torch may see that the worker has ended before the signal that was its cause
    killed = "was killed by signal: Killed: probably because memory ran out: choose fewer workers "
    ended = "exited unexpectedly: data.num_workers=0 .* if memory ran out, choose fewer workers "
    assert re.match(f"error: a worker that reads the data ({killed}|{ended})", said)
    assert said.count("\n") == 1
    has_checkpoint = any((broken / "checkpoints").glob("*.ckpt"))  # at the end of an epoch there is one in any case
    assert has_checkpoint >= saved
    assert said.endswith(remedy) == has_checkpoint
    assert record(broken)["status"] == "failed"
    assert said.startswith(record(broken)["error"].replace("UserError", "error"))
    if saved:
        assert resume(broken, "data.num_workers=0") == 0
        assert_same(train(*options), broken)


def test_a_signal_that_ends_the_workers_too_is_an_interruption(train, broken_off, resume, capsys):
    options = (*SHORT, *SAVING, "model=cnn", "loggers=none", "hparams.max_epochs=2")
    broken = broken_off(*options, "data.num_workers=2", batch=4, fault="SignalToAll", code=143)
    assert record(broken)["status"] == "interrupted"
    assert capsys.readouterr().err.startswith("interrupted by SIGTERM; to continue: ")
    assert resume(broken, "data.num_workers=0") == 0
    assert_same(train(*options), broken)


@pytest.mark.processes
def test_killed_again_and_again(train, tmp_path):
    options = (*SHORT, *SAVING, "model=patch_set")
    whole = train(*options)
    batches = random.Random(0).sample(range(1, 5), 2)
    fault = ["+callbacks.fault._target_=faults.Signal", "+callbacks.fault.name=SIGKILL"]
    before = set(tmp_path.glob("outputs/*/*/*"))

    def start(*overrides):
        return warm.run(str(REPOSITORY / "src" / "train.py"), *overrides)

    assert start(*options, *fault, f"+callbacks.fault.batch={batches[0]}") == -9
    for batch in batches[1:]:
        assert start("resume=last", f"callbacks.fault.batch={batch}") == -9
    assert start("resume=last", "~callbacks.fault") == 0
    (killed,) = set(tmp_path.glob("outputs/*/*/*")) - before
    assert_same(whole, killed)
    assert len(record(killed)["resumed"]) == 2


def test_in_a_folder_that_was_moved(train, broken_off, resume, tmp_path):
    options = (
        *SHORT,
        *SAVING,
        "model=cnn",
        "loggers=none",
        "hparams.lr=1e-12",
    )  # the best checkpoint is that of the first epoch
    whole, broken = train(*options), broken_off(*options, batch=12)
    moved = tmp_path / "elsewhere"
    shutil.move(broken, moved)
    assert resume(moved) == 0
    assert_same(whole, moved)
    assert record(moved)["best_checkpoint"] == "checkpoints/best.ckpt"


def test_more_epochs(train, command):
    options = (*SHORT, "model=cnn", "loggers=none", "scheduler=none")  # else the first epochs would differ
    whole = train(*options, "hparams.max_epochs=5")
    short = train(*options, "hparams.max_epochs=2")
    assert command("train", f"resume={short}", "hparams.max_epochs=5") == 0
    # test rows apart: the short run was tested as well
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(short).items())
    assert record(short)["metrics"] == record(whole)["metrics"]
    assert record(short)["settings"]["hparams.max_epochs"] == 5
    assert record(short)["resumed"][0]["changes"] == {"hparams.max_epochs": [2, 5]}
    assert "hparams.max_epochs: 2 -> 5" in (short / "train.log").read_text()


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "changed"),
    [
        (("scheduler=none",), "hparams.lr=0.01"),
        (("scheduler=step", "scheduler.scheduler.step_size=1"), "hparams.lr=0.01"),
        (("scheduler=cosine",), "hparams.max_epochs=6"),
        ((), "hparams.lr=0.01"),
        ((), "hparams.max_epochs=6"),
        ((), "scheduler=none"),
        (("scheduler=none",), "scheduler=cosine"),
        (("hparams.optimizer=SGD", "+optimizer.momentum=0.9"), "optimizer.momentum=0.5"),
    ],
)
def test_a_changed_schedule_is_at_once_where_it_would_have_been(broken_off, resume, options, changed):
    options = (*SHORT, "callbacks.last.every_n_steps=1", "model=cnn", "loggers=none", *options)
    broken, always = broken_off(*options, batch=7), broken_off(*options, changed, batch=12)
    assert resume(broken, changed, "+callbacks.again={_target_: faults.Crash, batch: 5}") == 1
    groups = [
        torch.load(folder / LAST, weights_only=True)["optimizer_states"][0]["param_groups"][0]
        for folder in (broken, always)
    ]
    assert groups[0] == groups[1]


def test_a_change_outlives_a_kill_before_the_next_checkpoint(broken_off, resume, command):
    broken = broken_off(*SHORT, *SAVING, "model=cnn", "loggers=none", "scheduler=none", batch=8)
    (broken / "checkpoints" / ".last.ckpt.abcdefgh").touch()  # of a kill while it was written
    assert resume(broken, "hparams.lr=0.01", "+callbacks.again={_target_: faults.Crash, batch: 0}") == 1
    assert command("train", f"resume={broken}", "~callbacks.again") == 0
    (group,) = torch.load(broken / LAST, weights_only=True)["optimizer_states"][0]["param_groups"]
    assert group["lr"] == 0.01
    assert {path.name for path in (broken / "checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}


def test_a_changed_rate_keeps_the_reductions_of_plateau(broken_off, resume):
    options = (*SHORT, "model=cnn", "loggers=none", *NEVER_BETTER)
    broken = broken_off(*options, batch=12)  # reduced once, at the second epoch's end
    assert resume(broken, "hparams.lr=0.002") == 0
    (group,) = torch.load(broken / LAST, weights_only=True)["optimizer_states"][0]["param_groups"]
    assert group["lr"] == pytest.approx(0.002 * 0.1**2)


@pytest.mark.long
@pytest.mark.parametrize(
    ("changed", "rates"),
    [
        (("hparams.lr=0.002",), (0.002, 0.0002)),
        (("hparams.embed_lr=0.0005",), (0.003, 0.0005)),
        (("hparams.embed_lr=0.5x", "hparams.lr=0.002"), (0.002, 0.001)),
    ],
    ids=str,
)
def test_a_changed_rate_keeps_the_reductions_of_plateau_of_both_groups(broken_off, resume, changed, rates):
    own = ("model=patch_set", *CANVAS[1:], "hparams.embed_lr=0.1x")
    broken = broken_off(*SHORT, *own, "loggers=none", *NEVER_BETTER, batch=12)
    assert resume(broken, *changed) == 0
    groups = torch.load(broken / LAST, weights_only=True)["optimizer_states"][0]["param_groups"]
    assert [group["name"] for group in groups] == ["rest", "embed"]
    assert [group["lr"] for group in groups] == pytest.approx([rate * 0.1**2 for rate in rates])


@pytest.fixture(scope="module")
def finished_patch_set(tmp_path_factory):
    options = ("hparams.patch_size=8", "hparams.max_epochs=1", "loggers=none")
    return trained(tmp_path_factory.mktemp("patch_set"), *SHORT, *options)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ("hparams.patch_size=3", r"network\.embed.* is \[256, 64\].*hparams.patch_size: 8 -> 3"),
        ("hparams.seed=1", "hparams.seed: 0 -> 1 cannot change"),
        ("hparams.embed_lr=0.1x", "embed_lr: null -> 0.1x: a resumed run keeps its parameter groups: leave it out, or"),
        ("hparams.optimizer=SGD", "hparams.optimizer: Adam -> SGD cannot change"),
        ("hparams.patch_num_max=16", r"test_patch_num: 64 -> 16: best.ckpt was .*: add hparams.test_patch_num=64, or"),
        ("hparams.test_patch_num=null", r"test_patch_num: 64 -> null: best.ckpt was chosen by validations with other"),
        ("data.limit_train=200", "data.limit_train: 300 -> 200 cannot change"),
        ("hparams.max_epochs=0", "must be a whole number >= 1"),
    ],
)
def test_what_cannot_change_is_refused_and_nothing_touched(finished_patch_set, command, capsys, changed, words):
    folder = finished_patch_set
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "train.log"}
    assert command("train", f"resume={folder}", changed) == 1
    assert re.search(words, capsys.readouterr().err)
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "train.log"}


def test_training_on_more_patches_keeps_the_number_in_validation(finished_patch_set, command, tmp_path):
    folder = shutil.copytree(finished_patch_set, tmp_path / "outputs" / "day" / "time")
    more = ("hparams.max_epochs=2", "hparams.patch_num_max=96", "hparams.test_patch_num=64")
    assert command("train", f"resume={folder}", *more) == 0
    run = record(folder)
    assert run["metrics"]["test_accuracy/n=64"] == run["metrics"]["test_accuracy"]


def test_a_finished_run_says_so(finished, command, capsys):
    assert command("train", f"resume={finished}") == 1
    assert "is finished: nothing is left to do; hparams.max_epochs=4 would add epochs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ("hparams.lr=0.1", "is finished: nothing is left to do"),
        ("hparams.lr=0", "the learning-rate finder runs only at the start"),
        ("hparams.max_epochs=1", "hparams.max_epochs=1: 2 epochs are done already; choose >= 2"),
    ],
)
def test_changes_that_come_too_late(finished, command, capsys, changed, words):
    if "max_epochs" in changed:  # the same holds for a run that is not finished
        (finished / "run.json").write_text(json.dumps(record(finished) | {"status": "interrupted"}))
    before = (finished / "run.json").read_bytes()
    assert command("train", f"resume={finished}", changed) == 1
    assert words in capsys.readouterr().err
    assert (finished / "run.json").read_bytes() == before


def test_another_scheduler_leaves_behind_the_settings_of_the_first(broken_off, resume):
    options = ("scheduler=step", "scheduler.scheduler.step_size=1", "model=cnn", "loggers=none")
    broken = broken_off(*SHORT, *options, batch=12)
    assert resume(broken, "scheduler=cosine") == 0


def test_through_a_link(train, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "outputs").symlink_to(tmp_path / "disk")
    assert record(train(*SHORT, "model=cnn", "hparams.max_epochs=1"))["best_checkpoint"] == "checkpoints/best.ckpt"


def test_the_curves_of_tensorboard_go_on(train, broken_off, resume):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = (*SHORT, *SAVING, "model=cnn")
    whole, broken = train(*options), broken_off(*options, batch=8)
    assert resume(broken) == 0
    curves = []
    for folder in (whole, broken):
        events = EventAccumulator(str(folder / "tensorboard"))
        events.Reload()
        repeated = [tag for tag in events.Tags()["scalars"] if not tag.startswith("watch/system/")]
        curves.append({tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in repeated})
    assert curves[0] == curves[1]


def test_damaged_files_are_named(finished, command, capsys):
    (finished / LAST).write_bytes((finished / LAST).read_bytes()[:1000])
    assert command("train", f"resume={finished}", "hparams.max_epochs=3") == 1
    assert f"cannot read the checkpoint {finished / LAST}: damaged" in capsys.readouterr().err
    for content, words in (("{", "run.json is no JSON"), ("{}", "run.json is not that of a run")):
        (finished / "run.json").write_text(content)
        assert command("train", f"resume={finished}", "hparams.max_epochs=3") == 1
        assert words in capsys.readouterr().err


def test_a_damaged_metrics_csv_is_said_and_replaced(broken_off, resume):
    broken = broken_off(*SHORT, *SAVING, "model=cnn", "loggers=none", batch=8)
    (broken / "metrics.csv").write_bytes(bytes(range(256)))
    assert resume(broken) == 0
    assert "metrics.csv was damaged" in (broken / "train.log").read_text()


def test_no_two_processes_in_one_folder(broken_off, command, capsys):
    from run.folder import locked

    folder = broken_off(*SHORT, *SAVING, "model=cnn", "loggers=none", batch=5)
    with locked(folder):
        assert command("train", f"resume={folder}") == 1
    assert "is still running" in capsys.readouterr().err
    assert record(folder)["status"] == "failed"


def test_init_from_takes_what_fits_and_says_what_does_not(train, tmp_path):
    options = (*SHORT, "model=cnn", "loggers=none")
    first = train(*options, "hparams.max_epochs=5")
    second = train(*options, "hparams.max_epochs=1", f"init_from={first}")
    assert record(second)["metrics"]["train_loss"] < 1  # 2.0 without
    wider = train(*options, "hparams.max_epochs=1", f"init_from={first}", "model.network.widths=[32,48]")
    log = (wider / "train.log").read_text()
    assert re.search(r"(\d+) of (?!\1)\d+ weights from .*best.ckpt", log)
    assert re.search(r"\.weight is \[64, 32, 3, 3\] in the checkpoint, \[48, 32, 3, 3\] in the network", log)


def test_the_checkpoint_of_another_network_is_no_start(command, tmp_path, capsys):
    foreign = tmp_path / "foreign.ckpt"
    torch.save({"state_dict": {"weight": torch.zeros(2)}}, foreign)
    assert command("train", *SHORT, "model=cnn", f"init_from={foreign}") == 1
    assert "no weight fits this network" in capsys.readouterr().err


def test_rerecorded_settings_serve_evaluate(train, command):
    folder = train(*SHORT, "hparams.max_epochs=1")
    assert command("train", f"resume={folder}", "hparams.max_epochs=2", "comment=second part") == 0
    assert command("evaluate", f"run={folder}") == 0
    assert record(folder)["comment"] == "second part"
    assert json.loads((folder / "evaluation.json").read_text())["test_accuracy"] > 0


HALF = (  # on a GPU trainer.precision=16-mixed is this plugin; on the processor Lightning would take bf16 instead
    "trainer.plugins=[{_target_: callback.checkpoint.AtomicCheckpointIO},"
    "{_target_: pytorch_lightning.plugins.precision.MixedPrecision, precision: 16-mixed, device: cpu,"
    "scaler: {_target_: torch.amp.GradScaler, device: cpu, init_scale: 65536.0, growth_interval: 3}}]"
)


@pytest.mark.long
def test_the_scale_of_gradients_in_half_precision_is_resumed(train, broken_off, resume):
    options = (*SHORT, *SAVING, "model=cnn", "loggers=none", "~trainer.precision", HALF)
    whole, broken = train(*options), broken_off(*options, batch=7)
    assert resume(broken) == 0
    assert_same(whole, broken)
    scales = [torch.load(each / LAST, weights_only=True)["MixedPrecision"]["scale"] for each in (whole, broken)]
    assert scales[0] == scales[1] != 65536.0  # it has grown on the way
