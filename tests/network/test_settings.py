"""Networks and data that do not fit are refused before a run folder exists; tests/test_settings.py has the patches."""

import pytest
from configs import composed

from network.settings import check
from process.errors import UserError

VECTORS = (
    "+data.features=3",
    "+model.network.features=3",
    "data.channels=null",
    "data.image_size=null",
    "hparams.patch_size=null",
)


@pytest.mark.parametrize("model", ["patch_set", "set_transformer", "attention_mil"])
def test_networks_of_sets_take_vectors(model):
    check(composed(*VECTORS, f"model={model}"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model/embed=cnn"], "model/embed=cnn takes patches of images, and the elements are vectors: choose"),
        (["model/embed=torchvision"], "model/embed=torchvision takes patches of images, and the elements are vectors:"),
        (["model/embed=timm"], "model/embed=timm takes patches of images, and the elements are vectors: choose model/"),
        (["model/position=learned"], "elements have no places: choose model=patch_set model/position=none"),
        (["model=transmil", "model.network.classifier.ppeg=places"], "choose model.network.classifier.ppeg=none or"),
        (["model.network.features=null"], "the elements of this data set are vectors: model.network.features=${data"),
        (["data.features=null"], "the elements of this data set are images, not vectors: model.network.features=null"),
    ],
)
def test_what_vectors_do_not_go_with_is_refused(overrides, message):
    with pytest.raises(UserError) as refusal:
        check(composed(*VECTORS, *overrides))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=cnn"], "hparams.embed_lr=0.1x: this network has no embedding with a rate of its own: set hparams.emb"),
        (["model/embed=timm"], "hparams.embed_lr=0.1x: the embedding is frozen: train it, model.network.embed.frozen="),
    ],
)
def test_a_rate_of_an_embedding_that_is_not_trained_is_refused(overrides, message):
    with pytest.raises(UserError) as refusal:
        check(composed("hparams.embed_lr=0.1x", *overrides))
    assert message in str(refusal.value)
    check(composed("hparams.embed_lr=0.1x", "model/embed=timm", "model.network.embed.frozen=false"))
    check(composed("hparams.embed_lr=null", *overrides))


def test_patches_need_a_size():
    with pytest.raises(UserError, match=r"patch_size=null is for vectors, and this data set holds images"):
        check(composed("hparams.patch_size=null"))


def test_settings_of_an_older_version_in_a_file_of_ones_own_are_refused():
    with pytest.raises(UserError, match=r"^hparams.patch_mode=grid: it is model/selection=grid now"):
        check(composed("+hparams.patch_mode=grid"))
    with pytest.raises(
        UserError, match=r"^hparams.patch_replace=false: it is model.network.selection.replace=false now"
    ):
        check(composed("+hparams.patch_replace=false"))


def test_the_config_of_an_older_version_is_checked_by_its_own_names():
    config = composed("+hparams.patch_mode=random", "+hparams.patch_replace=false", "hparams.patch_num_max=500")
    del config.model.network.selection, config.model.network.sets
    with pytest.raises(UserError, match=r"^hparams.patch_num_max=500 exceeds the 196 places of a 15x15 patch"):
        check(config)
    config.hparams.patch_mode = "grid"
    check(config)


FITTING = {
    "reinforce": ["model=canvas"],
    "ips": ["model=attention_mil"],
    "attention_sampling": ["hparams.pool=[mean]"],
}


@pytest.mark.parametrize("kind", ["fixed", "glimpse", "reinforce", "ips", "attention_sampling", "topk"])
def test_a_masked_autoencoder_learns_no_places(kind):
    few = ("hparams.patch_num_min=1", "hparams.patch_num_max=4", f"model/selection={kind}")
    check(composed(*FITTING.get(kind, ["model=patch_set"]), *few))
    with pytest.raises(UserError, match=rf"^model/selection={kind}: .*: choose model/selection=random, grid or all$"):
        check(composed("model=masked_autoencoder", *few))


def test_a_reader_needs_a_network_that_adds_its_loss_and_reinforce_needs_classes():
    few = ("hparams.patch_num_max=20", "model/selection=reinforce")
    with pytest.raises(UserError, match=r"^model/selection=reinforce: .*: choose model=canvas$"):
        check(composed("model=patch_set", *few))
    with pytest.raises(UserError, match=r"^model.network.selection.read=true: .*: choose model=canvas$"):
        check(composed("model=patch_set", few[0], "model/selection=fixed", "model.network.selection.read=true"))
    with pytest.raises(UserError, match=r"^model/selection=reinforce: .*: choose task=classification$"):
        check(composed("model=canvas", *few, "task=regression"))


def test_frozen_places_need_a_strategy_that_finds_parameters_without_a_gradient():
    options = ("model=canvas", "model/selection=fixed", "model.network.selection.freeze_at=0.5", "trainer=ddp_cpu")
    remedy = "trainer.strategy=ddp_find_unused_parameters_true"
    check(composed(*options, remedy))
    check(composed(*options, "model.network.selection.freeze_at=null"))
    with pytest.raises(UserError, match=f": {remedy}$"):
        check(composed(*options))


@pytest.mark.parametrize("kind", ["ips", "attention_sampling", "topk", "brightest"])
def test_selections_from_a_grid_have_the_places_of_its_stride(kind):
    options = (*FITTING.get(kind, []), f"model/selection={kind}")
    places = {"ips": 4}.get(kind, 9)  # 15x15 patches of 28x28 pixels, 15 or 8 apart
    check(composed(*options, f"hparams.patch_num_max={places}"))
    with pytest.raises(UserError, match=rf"^hparams.patch_num_max={places + 1} exceeds the {places} places of a 15x15"):
        check(composed(*options, f"hparams.patch_num_max={places + 1}"))
    check(composed(*options, "hparams.patch_num_max=49", "model.network.selection.stride=2"))


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        (["model/selection=ips"], "model=attention_mil"),
        (["model=attention_mil", "model/selection=ips", "model/encoder=sab"], "model=attention_mil"),
        (["model/selection=attention_sampling"], r"model/pool=reduce hparams.pool=\[mean\]"),
        (["model/selection=attention_sampling", "model/pool=pma"], r"model/pool=reduce hparams.pool=\[mean\]"),
        (["model/selection=topk", "model=canvas"], "model/selection=random, fixed or glimpse"),
        (["model/selection=ips", "model=bag_of_patches"], "model=attention_mil"),
    ],
)
def test_networks_from_which_a_selection_cannot_learn_are_refused(options, remedy):
    with pytest.raises(UserError, match=f": choose {remedy}$"):
        check(composed("hparams.patch_num_max=4", *options))
