"""Every YAML of every group composes, and what it describes can be built: a new file is found here by itself."""

import pytest
from bags import write_bags
from configs import CONFIG, composed
from hydra.utils import instantiate
from lazy import NoiseReader
from omegaconf import OmegaConf

import settings
from process.errors import UserError
from settings import TABLE, check

GROUPS = [
    path.relative_to(CONFIG) for path in sorted(CONFIG.rglob("*.yaml")) if len(path.relative_to(CONFIG).parts) > 1
]
TASKS = {  # of the losses that are not for classification
    "binary_cross_entropy": "multilabel",
    "poisson": "count",
    **dict.fromkeys(("l1", "l2", "huber"), "regression"),
}
SELECTIONS = {
    "reinforce": ["model=canvas"],  # no other network adds its loss
    "ips": ["model=attention_mil"],
    "attention_sampling": ["hparams.pool=[mean]"],
}
CHOICES = [f"{path.parent}={path.stem}" for path in GROUPS if path.parts[0] != "hydra"]


@pytest.fixture(autouse=True)
def data_of_ones_own(tmp_path, monkeypatch):
    for name in ("red", "green"):
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "train" / name / "1.png").touch()
        (tmp_path / "train" / name / "1.npy").touch()
    write_bags(tmp_path, [2, 3])
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train"]}')  # as Hugging Face's library writes it
    (tmp_path / "train" / "dataset_info.json").write_text(
        '{"features": {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["green", "red"]}}}'
    )
    monkeypatch.setenv("DATASET", str(tmp_path))


@pytest.mark.parametrize("choice", CHOICES)
def test_composes_resolves_is_valid_and_builds(choice, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    group, _, option = choice.partition("=")
    data = data_of(option) if group == "task" else data_of(TASKS[option]) if option in TASKS else []
    data += ["loss=reconstruction"] if choice == "task=loss" else []
    data += ["model=canvas"] if group == "model/body" else []  # no other network has one
    if group == "model/selection":  # some have few places, or fit one kind of pool
        data += ["hparams.patch_num_max=4", *SELECTIONS.get(option, [])]
    config = composed(f"{group}=[{option}]" if group in ("callbacks", "loggers") else choice, *data)
    OmegaConf.resolve(config)
    check(config)
    if group == "trainer":  # some need a device that may be absent
        return
    model, data = instantiate(config.model), instantiate(config.data)
    assert model.network is not None
    assert getattr(data, "num_classes", None) == config.data.get("num_classes")
    for part in ("callbacks", "loggers"):
        for node in config[part].values():
            instantiate(node)


def data_of(task):
    """Return the choice of data whose default is the task; none if the default data suit it."""
    paths = sorted((CONFIG / "data").glob("*.yaml"))
    return [f"data={path.stem}" for path in paths if f"override /task: {task}\n" in path.read_text()][:1]


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONFIG / "trainer").glob("*.yaml")))
def test_every_trainer_builds_where_its_device_is(name, tmp_path):
    import torch

    config = composed(f"trainer={name}").trainer
    if config.accelerator == "gpu" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    instantiate(config, default_root_dir=str(tmp_path), logger=False)


@pytest.mark.long  # all pairs together
@pytest.mark.parametrize("name", sorted(path.stem for path in (CONFIG / "model").glob("*.yaml")))
@pytest.mark.parametrize("data", sorted(path.stem for path in (CONFIG / "data").glob("*.yaml")))
def test_every_network_takes_every_data_set_gray_and_coloured_or_is_refused(name, data):
    import torch

    from set_module.lazy_images import LazyImages
    from set_module.set_batch import SetBatch
    from set_module.set_network import split_outputs

    config = composed(f"model={name}", f"data={data}", "data.mean=[0.5]", "data.std=[0.5]")
    network, features = config.model.network, config.data.get("features")
    holds_sets = settings.holds_sets(config.data)
    for channels in (1, 3) if features is None else (None,):
        config.data.channels = channels
        if holds_sets and ("sets" not in network or network.position is not None):
            with pytest.raises(UserError, match="choose model=patch_set"):
                check(config)
            continue
        lazy, any_size = config.data.get("lazy", False), config.data.get("image_size", 0) is None
        if lazy and ("patch_size" not in network or "body" in network or (any_size and "visible" in network)):
            with pytest.raises(UserError, match="choose model=patch_set"):
                check(config)
            continue
        check(config)
        module = instantiate(config.model, _convert_="all").network.eval()
        if features is not None:
            elements = torch.randn(5, features)
        elif lazy:
            elements = LazyImages(NoiseReader(channels, *(config.data.image_size or (90, 120))), range(2))
        else:
            elements = torch.randint(256, (5, channels, *config.data.image_size), dtype=torch.uint8)
        items = SetBatch(elements, torch.tensor([2, 3])) if holds_sets else elements[:2]
        outputs = split_outputs(module(items, torch.tensor([0, 1])))[0]
        learned = "loss" in config.task  # without labels, the outputs are features
        assert outputs.shape == (2, outputs.shape[1] if learned else network.num_outputs)


def test_the_number_of_classes_of_an_image_folder_is_that_of_its_folders():
    assert composed("data=image_folder").data.num_classes == 2


def test_a_model_chooses_its_schedule_unless_the_command_line_does():
    assert composed("model=vgg11").scheduler is None
    assert composed("model=vgg11", "scheduler=onecycle").scheduler == composed().scheduler


def test_every_rule_is_about_a_setting():
    config = composed()
    for setting in TABLE:
        if setting.rule is not None and not setting.optional:
            assert OmegaConf.select(config, setting.name, default="missing") != "missing", setting.name


@pytest.mark.parametrize("path", sorted(CONFIG.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONFIG)))
def test_every_file_opens_by_saying_why_it_exists(path):
    lines = [line for line in path.read_text().splitlines() if not line.startswith("# @package")]
    assert lines[0].startswith("# ")


def test_searches_over_numbers_of_patches_compare_trials_at_one_number():
    searches = [path for path in (CONFIG / "hparams_search").glob("*.yaml") if "hparams.patch_num" in path.read_text()]
    assert searches
    for path in searches:
        fewer, more = (composed(f"hparams_search={path.stem}", f"hparams.patch_num_max={n}") for n in (16, 128))
        assert fewer.hparams.test_patch_num == more.hparams.test_patch_num is not None
