import pytest
from omegaconf import OmegaConf

import settings
from process.errors import UserError
from settings import check, lower_is_better, mixed_sizes, monitored

VALID = {
    "debug": False,
    "experiment_name": "Default",
    "project_name": "PatchSets",
    "comment": None,
    "tags": [],
    "guard": {"patience": 10, "limit": 120},
    "run_state": {"_target_": "RunState"},
    "hparams": {
        "batch_size": 1,
        "optimizer": "SGD",
        "lr": 0,
        "max_epochs": 1,
        "patience": None,
        "monitor": "valid_f1",
        "monitor_mode": "max",
        "seed": 0,
        "label_smoothing": 0.0,
        "patch_size": 8,
        "patch_num_min": 3,
        "patch_num_max": 3,
        "pool": ["mean"],
    },
    "data": {
        "_target_": "datamodule.mnist_bags.MNISTBags",
        "batch_size": 1,
        "seed": 0,
        "split_seed": 0,
        "channels": 1,
        "mean": [0.5],
        "std": [0.5],
        "valid": 0.1,
        "limit_train": None,
        "balanced": False,
        "image_size": [8, 9],
        "fold": None,
        "num_folds": 5,
        "num_workers": None,
        "crop_padding": 0,
        "flip": False,
    },
    "optimizer": {},
    "metrics": ["f1"],
    "task": {
        "classification": {
            "_target_": "task.classification.Classification",
            "metrics": {"_target_": "task.metrics.multiclass", "names": "${metrics}"},
        }
    },
    "task_weights": {},
    "verbosity": 1,
    "model": {
        "_target_": "model.TaskModule",
        "network": {
            "_target_": "network.patch_set.PatchSet",
            "patch_size": 8,
            "sets": False,
            "selection": {"_target_": "selection.random_places.RandomPlaces", "replace": True},
        },
    },
}

GRID = "model.network.selection._target_=selection.grid.Grid"
BAGS = OmegaConf.merge(
    VALID,
    {
        "hparams": {"patch_size": 8},
        "model": {"network": {"sets": True}},
        "data": {
            "image_size": [8, 8],
            "target_digit": 0,
            "bag_size_mean": 1,
            "bag_size_std": 0.0,
            "train_bags": 1,
            "test_bags": 1,
        },
    },
)


@pytest.mark.parametrize(("task", "fact"), [("regression", "target_shape"), ("clustering", "components")])
def test_a_task_that_needs_what_the_data_lack_is_refused(task, fact):
    config = OmegaConf.merge(VALID, {"task": {task: {"_target_": "x", "num_outputs": f"${{call:f,${{data.{fact}}}}}"}}})
    with pytest.raises(UserError, match=f"^task={task} needs data.{fact}, and this data set has none: choose the task"):
        check(config)


def test_tasks_of_different_kinds_need_losses_of_their_own():
    regression = {"_target_": "task.regression.Regression", "loss": "${loss}"}
    config = OmegaConf.merge(VALID, {"loss": {"_target_": "x"}, "task": {"max": regression, "min": regression}})
    check(config)
    shared = {"task": {"classification": {"loss": "${tensor_weights:${loss}}"}}}
    with pytest.raises(
        UserError, match=r"^task=\[classification,max,min\]: classification and max and min would share"
    ):
        check(OmegaConf.merge(config, shared))


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"counting": 0.5}, "task_weights.counting: no such task; choose from classification"),
        ({"classification": -1}, "task_weights.classification=-1: must be a number >= 0"),
        ({"classification": "half"}, "task_weights.classification=half: must be a number >= 0"),
    ],
)
def test_weights_are_numbers_of_chosen_tasks(weights, words):
    other = {"_target_": "x", "metrics": {"_target_": "task.metrics.nothing", "names": []}}
    several = OmegaConf.merge(
        VALID, {"task": {"other": other}, "hparams": {"monitor": "valid_loss", "monitor_mode": "min"}}
    )
    check(OmegaConf.merge(several, {"metrics": [], "task_weights": {"classification": 0.5}}))
    with pytest.raises(UserError, match=f"^{words}"):
        check(OmegaConf.merge(VALID, {"task_weights": weights}))


def test_a_weight_of_the_only_task_is_refused():
    config = OmegaConf.merge(VALID, {"task_weights": {"classification": 2}})
    config.task = {"classification": config.task.classification}
    with pytest.raises(UserError, match=r"^task_weights.classification=2: there is no other task to weigh against"):
        check(config)


def test_label_smoothing_is_refused_for_a_loss_that_has_none():
    config = OmegaConf.merge(VALID, {"hparams": {"label_smoothing": 0.1}})
    config.loss = {"_target_": "torch.nn.CrossEntropyLoss", "label_smoothing": "${hparams.label_smoothing}"}
    check(config)
    config.loss = {"_target_": "torch.nn.MultiMarginLoss"}
    with pytest.raises(
        UserError, match=r"^hparams.label_smoothing=0.1: the chosen loss has no label smoothing: choose"
    ):
        check(config)


def test_the_share_of_exact_items_can_be_monitored_in_training_only_if_it_is_measured():
    metrics = {"_target_": "task.metrics.regression", "names": ["mae"]}
    config = OmegaConf.merge(VALID, {"metrics": ["mae"], "hparams": {"monitor": "train_exact", "monitor_mode": "max"}})
    config.task = {"regression": {"_target_": "task.regression.Regression", "metrics": metrics}}
    with pytest.raises(UserError, match=r"choose from valid_loss, valid_mae, train_loss, train_mae$"):
        check(config)
    config.task.regression.metrics.names = ["mae", "exact"]
    check(config)


@pytest.mark.parametrize("family", ["mixture", "nothing"])
def test_metrics_of_a_task_that_measures_its_own_are_refused(family):
    task = {"_target_": "x", "metrics": {"_target_": f"task.metrics.{family}", "names": ["f1"]}}
    config = OmegaConf.merge(VALID, {})
    config.task = {"own": task}
    with pytest.raises(UserError, match=r"^metrics: f1: this task has no metrics of its own: metrics=\[\]"):
        check(config)


def test_no_task_at_all_is_refused():
    config = OmegaConf.merge(VALID, {})
    config.task = None
    with pytest.raises(UserError, match=r"^task=.. asks for nothing: choose task=classification or another"):
        check(config)


def test_a_metric_of_another_task_among_several_is_reported_with_the_setting_that_names_it():
    more = {
        "_target_": "task.regression.Regression",
        "metrics": {"_target_": "task.metrics.regression", "names": ["f1"]},
    }
    with pytest.raises(UserError, match=r"^metrics: f1: .*; of one task among several: task.size.metrics.names="):
        check(OmegaConf.merge(VALID, {"task": {"size": more}}))


@pytest.mark.parametrize(
    ("classes", "weight", "words"),
    [
        (3, [1, 2.5, 0], None),
        (3, None, None),
        (3, [1, 2], "loss.weight has 2 numbers for 3 classes: give one per class"),
        (2, [1, -1], "loss.weight=[1, -1]: must be a list of numbers >= 0, one per class or label"),
        (2, [0, 0], "must be a list of numbers"),
        (2, 5, "must be a list of numbers"),
        (1, None, "data.num_classes=1: there is nothing to classify: add the images of a second class"),
    ],
)
def test_classes_and_their_weights(classes, weight, words):
    config = OmegaConf.merge(VALID, {"data": {"num_classes": classes}, "loss": {"weight": weight}})
    if words is None:
        check(config)
        return
    with pytest.raises(UserError) as refused:
        check(config)
    assert words in str(refused.value)
    if classes == 1:  # a LightningModule of one's own may learn from one class, and a trained run may lack its data
        check(OmegaConf.merge(config, {"model": {"_target_": "own.Module"}}))
        check(OmegaConf.merge(config, {"run": "outputs/x"}))


def test_seed_0_lr_0_and_one_number_of_patches_are_valid():
    check(OmegaConf.create(VALID))


@pytest.mark.parametrize("rate", ["null", "0.001", "1", "0.1x", "2x", ".5x"])
def test_rates_of_an_embedding_are_numbers_or_factors(rate):
    network = {"model": {"network": {"embed": {"_target_": "network.mlp_embed.MLPEmbed"}}}}
    check(OmegaConf.merge(OmegaConf.create(VALID), network, OmegaConf.from_dotlist([f"hparams.embed_lr={rate}"])))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("hparams.batch_size=0", "hparams.batch_size=0: must be a whole number >= 1"),
        ("hparams.batch_size=1.5", "whole number"),
        ("hparams.batch_size=true", "whole number"),
        ("hparams.lr=-0.1", "hparams.lr=-0.1: must be a number >= 0"),
        ("hparams.lr=.inf", "number"),
        ("hparams.lr=.nan", "number"),
        ("hparams.lr=fast", "number"),
        ("hparams.embed_lr=0", "hparams.embed_lr=0: must be a number > 0, or a factor of hparams.lr such as 0.1x, or"),
        ("hparams.embed_lr=x", "a factor of hparams.lr"),
        ("hparams.embed_lr=0.0x", "a factor of hparams.lr"),
        ("hparams.embed_lr=-0.1x", "a factor of hparams.lr"),
        ("hparams.embed_lr=true", "a number > 0"),
        ("hparams.seed=null", "hparams.seed=null"),
        ("hparams.label_smoothing=1.1", "<= 1"),
        ("hparams.monitor_mode=maximum", "one of min, max"),
        ("hparams.pool=mean", "a list of names"),
        ("hparams.pool=[]", "a list of names"),
        ("hparams.patch_num_max=2", "hparams.patch_num_min=3 exceeds hparams.patch_num_max=2"),
        ("hparams.patch_size=9", "hparams.patch_size=9 exceeds the 8x9 images of this data set: choose <= 8"),
        ("data.fold=5", "choose 0 to 4"),
        ("data.fold=-1", "whole number"),
        ("data.num_folds=1", "data.num_folds=1: must be a whole number >= 2"),
        ("data.valid=1.5", "data.valid=1.5: must be a ratio"),
        ("data.valid=-1", "must be a ratio"),
        ("data.valid=1.0", "must be a ratio"),
        ("data.valid=null", "must be a ratio"),
        ("data.valid=some", "must be a ratio"),
        ("data.limit_train=0", "whole number >= 1, or null"),
        ("data.image_size=64", "[height, width]"),
        ("data.mean=0.5", "a list of numbers"),
        ("hparams.seed=4294967296", "from 0 to 4294967295"),
        ("hparams.monitor=valid_acc", "choose from valid_loss, valid_f1, train_loss, train_accuracy"),
        ("debug=1", "true or false"),
        ("guard=null", "guard=null: must be the settings in its YAML, set one by one"),
        ("hparams=null", "hparams=null: must be the settings in its YAML"),
        ("predictor=null", "predictor=null: must be the settings in its YAML"),
        ("tested=true", "tested=True: must be the settings in its YAML, set one by one, or null"),
        ("verbosity=3", "verbosity=3: must be one of 0, 1, 2"),
        ("verbosity=true", "one of 0, 1, 2"),
        ("metrics=f1", "metrics=f1: must be a list of names"),
        ("metrics=[aurok]", "metrics: aurok: no such metric; did you mean auroc?"),
        ("experiment_name=''", "a text"),
    ],
)
def test_one_line_with_the_remedy(setting, words):
    refused(OmegaConf.create(VALID), setting, words)


def refused(config, setting, words):
    name, _, value = setting.partition("=")
    config = OmegaConf.merge(config, OmegaConf.from_dotlist([setting]))
    if value == "''":
        OmegaConf.update(config, name, "")
    with pytest.raises(UserError) as raised:
        check(config)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_bags_of_one_are_valid():
    check(BAGS)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("data.target_digit=10", "data.target_digit=10: must be a digit, 0 to 9"),
        ("data.target_digit=true", "a digit"),
        ("data.bag_size_mean=0.5", "a number >= 1"),
        ("data.bag_size_std=-1", "a number >= 0"),
        ("data.train_bags=0", "a whole number >= 1"),
        ("data.train_bags=null", "data.train_bags=null: must be a whole number >= 1"),
        ("data.test_bags=1.5", "a whole number >= 1"),
        (GRID, "model/selection=grid: this data set holds bags, nothing is cut: leave it out"),
        ("hparams.patch_size=7", "hparams.patch_size=7: nothing is cut out of the 8x8 images of a set: choose 8"),
    ],
)
def test_one_line_about_bags(setting, words):
    refused(BAGS, setting, words)


def test_bags_are_not_for_networks_that_see_one_image():
    config = OmegaConf.merge(BAGS)
    del config.model.network.patch_size
    refused(config, "debug=false", "holds bags, and the network takes images: choose model=patch_set or deep_sets")


def test_images_are_not_for_networks_of_sets_that_cut_nothing():
    remedy = "holds images: choose model/selection=random, grid or all"
    refused(OmegaConf.create(VALID), "model.network.selection=null", remedy)


def test_a_patch_size_that_no_network_uses_is_not_compared_with_the_images():
    config = OmegaConf.create(VALID)
    config.hparams.patch_size = 100
    del config.model.network.patch_size
    check(config)


@pytest.mark.parametrize(
    ("metrics", "monitor", "mode"),
    [
        (["f1"], "valid_f1", "max"),
        (["f1"], "valid_loss", "min"),
        (["f1"], "train_accuracy", "max"),
        (["calibration_error"], "valid_calibration_error", "min"),
        (["HammingDistance"], "valid_hamming_distance", "min"),
        (["HingeLoss"], "valid_hinge_loss", "min"),
        (["CohenKappa"], "valid_cohen_kappa", "max"),
    ],
)
def test_the_direction_is_that_of_the_metric(metrics, monitor, mode):
    watched = {"hparams": {"monitor": monitor, "monitor_mode": mode}, "metrics": metrics}
    config = OmegaConf.merge(VALID, watched)
    check(config)
    assert (monitor.partition("_")[2] in lower_is_better(config)) == (mode == "min")
    other = {"min": "max", "max": "min"}[mode]
    refused(config, f"hparams.monitor_mode={other}", f"hparams.monitor={monitor}: the ")


RANGE = OmegaConf.merge(VALID, {"hparams": {"patch_num_min": 1, "patch_num_max": 64, "test_patch_num": None}})


@pytest.mark.parametrize(
    ("changes", "suffix"),
    [
        ([], "/n=1-64"),
        (["hparams.patch_num_min=64"], ""),
        (["hparams.test_patch_num=16"], ""),
        ([GRID], ""),
        (["model.network.patch_size=null"], ""),
    ],
)
def test_metrics_of_sets_of_mixed_sizes_say_so(changes, suffix):
    assert mixed_sizes(OmegaConf.merge(RANGE, OmegaConf.from_dotlist(changes))) == suffix


def test_the_monitor_of_sets_of_mixed_sizes_has_their_name():
    refused(
        RANGE, "hparams.monitor=valid_f2", "no such metric; choose from valid_loss, valid_f1, train_loss, train_acc"
    )
    for name, mode in (("valid_f1", "max"), ("valid_loss", "min")):
        for suffix in ("", "/n=1-64"):
            config = OmegaConf.merge(RANGE, {"hparams": {"monitor": f"{name}{suffix}", "monitor_mode": mode}})
            check(config)
            assert monitored(config) == f"{name}/n=1-64"
            assert lower_is_better(config) == ["loss"]
    assert monitored(OmegaConf.merge(RANGE, {"hparams": {"monitor": "train_loss"}})) == "train_loss"
    assert monitored(OmegaConf.merge(VALID, {"hparams": {"monitor": "valid_loss"}})) == "valid_loss"


def test_a_run_from_before_the_setting_has_the_names_of_before():
    assert "test_patch_num" not in VALID["hparams"]
    assert mixed_sizes(OmegaConf.merge(VALID, {"hparams": {"patch_num_min": 1}})) == ""


@pytest.mark.parametrize(
    ("metric", "name"),
    [("test_accuracy/n=16", "accuracy"), ("valid_loss/n=1-64", "loss"), ("recon", "recon"), ("test_a/class=b c", "a")],
)
def test_the_result_of_a_metric(metric, name):
    assert settings.result_name(metric) == name


def test_a_metric_without_a_direction_takes_both():
    for mode in ("min", "max"):
        watched = {"hparams": {"monitor": "valid_eer", "monitor_mode": mode}, "metrics": ["EER"]}
        config = OmegaConf.merge(VALID, watched)
        check(config)
        assert ("eer" in lower_is_better(config)) == (mode == "min")


def test_another_lightning_module_may_log_any_name():
    module = {"model": {"_target_": "mine.MaskedPatches", "patch_size": 8}}
    config = OmegaConf.merge(VALID, {"hparams": {"monitor": "valid_recon", "monitor_mode": "min"}}, module)
    del config.model.network
    check(config)
    assert lower_is_better(config) == ["loss", "recon"]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            "callbacks.early_stopping=true",
            "callbacks.early_stopping=True: must be the settings in its YAML, or null",
        ),
        ("loggers.csv=x", "loggers.csv=x: must be the settings in its YAML, or null"),
        ("model.network.pool=max", "model.network.pool=max: model/pool= chooses it"),
    ],
)
def test_a_part_is_no_plain_value(setting, words):
    refused(OmegaConf.create(VALID), setting, words)


def test_a_setting_without_a_row_is_treated_as_what_contains_it():
    assert settings.find("callbacks.progress_bar.verbosity").new_patience
    assert settings.find("data.name").fixed
    assert not settings.find("data.root").fixed
    assert settings.find("optimizer._target_").fixed
    assert not settings.find("optimizer.momentum").fixed
    assert settings.find("hparams.monitor_mode").new_patience is False
    assert settings.find("nothing.of.this") == settings.Setting("nothing")


def test_each_row_has_another_name():
    assert len(settings.ROWS) == len(settings.TABLE)


NODE = {"a": {"b": 1, "c": {}}, "d": ["x", {"e": "y"}], "f": None}


def test_leaves_have_dotted_names_and_lists_are_values():
    assert list(settings.leaves(NODE)) == [("a.b", 1), ("a.c", {}), ("d", ["x", {"e": "y"}]), ("f", None)]


def test_leaves_into_lists():
    flat = [("a.b", 1), ("a.c", {}), ("d", "x"), ("d.e", "y"), ("f", None)]
    assert list(settings.leaves(NODE, into_lists=True)) == flat
