import pytest
from bags import write_bags
from configs import CONFIG, composed

from ask import choices
from process.errors import UserError
from settings import holds_sets


@pytest.mark.parametrize(("group", "default"), [("data", "MNIST"), ("model", "patch_set"), ("experiment", None)])
def test_options_are_the_files_of_the_group_the_default_first(group, default):
    options = choices.options(group)
    assert set(options) == {path.stem for path in (CONFIG / group).glob("*.yaml")}
    assert choices.chosen("config", group) == default
    assert default is None or next(iter(options)) == default
    assert all(options.values())
    assert not any(text.startswith(("#", "@")) for text in options.values())


def test_a_recipe_says_its_data():
    assert choices.chosen("experiment/cifar10_lenet", "data") == "image_folder"
    assert choices.chosen("experiment/cifar10_lenet", "model") == "lenet_bn"
    assert choices.chosen("experiment/of_nobody", "data") is None


@pytest.mark.parametrize("model", sorted(path.stem for path in (CONFIG / "model").glob("*.yaml")))
def test_what_takes_sets_is_what_the_check_lets_pass(model):
    assert choices.takes_sets(model) == ("sets" in composed(f"model={model}").model.network)


@pytest.mark.parametrize("data", sorted(path.stem for path in (CONFIG / "data").glob("*.yaml")))
def test_which_data_hold_bags_or_are_a_folder(data, tmp_path, monkeypatch):
    (tmp_path / "train" / "red").mkdir(parents=True)
    write_bags(tmp_path, [2, 3])
    monkeypatch.setenv("DATASET", str(tmp_path))
    config = composed(f"data={data}").data
    assert choices.holds_bags(data) == holds_sets(config)
    assert choices.is_folder(data) == config._target_.endswith("ImageFolder")
    assert choices.is_bag_folder(data) == config._target_.endswith("FeatureBags")


def test_a_broken_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(choices, "CONFIG", tmp_path)
    (tmp_path / "config.yaml").write_text("defaults: [")
    with pytest.raises(UserError, match=r"config.yaml is not valid YAML: while parsing"):
        choices.options("data")
