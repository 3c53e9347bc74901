from functools import partial

import pytest
import torch
from given_logits import noise, shown_in_test
from PIL import Image
from torch import nn

from figure import embedding
from figure.embedding import Embedding, last_linear, points_of_images, points_of_patches, project_to_plane, shrunk
from figure.embedding_picture import (
    APART,
    COLOURS,
    TILE,
    Point,
    drawn_points,
    legend,
    palette,
    paste_point,
    spaced_apart,
)
from network.bag_of_patches import BagOfPatches
from network.mlp_embed import MLPEmbed
from selection.random_places import RandomPlaces
from set_module.reduce_pool import ReducePool
from set_module.set_batch import SetBatch

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(30, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, images_BCHW, index_B=None):
        return self.head(images_BCHW.flatten(1).float() / 255)


def bag_of_patches(mode="random", size=4):
    torch.manual_seed(0)
    pool, embed = partial(ReducePool, reductions=["mean"]), partial(MLPEmbed, widths=[6])
    shape = {"channels": 1, "image_size": (6, 5), "mean": [0.5], "std": [0.5], "num_outputs": 3, "seed": 0}
    sets = {"patch_size": size, "patch_num_min": 2, "patch_num_max": 5, "selection": RandomPlaces if mode else None}
    return BagOfPatches(pool=pool, embed=embed, **shape, **sets).eval()


IMAGES, LABELS, INDEX = noise(23, 1, 6, 5), torch.arange(23) % 3, torch.arange(23)


@torch.no_grad()
def test_points_are_what_the_last_linear_layer_takes():
    network = Plain()
    logits_BK = network(IMAGES)
    points = points_of_images(network, logits_BK, (IMAGES, LABELS, INDEX), [2, 20])
    for point, number in zip(points, [2, 20], strict=True):
        assert torch.allclose(network.head[2](point.features), logits_BK[number], atol=1e-5)
        assert torch.equal(point.picture, IMAGES[number])
        assert point.label == LABELS[number]
        assert point.is_wrong == (logits_BK[number].argmax() != LABELS[number])
    assert not network.head[2]._forward_pre_hooks


@torch.no_grad()
@pytest.mark.parametrize("mode", ["random", None])
def test_of_votes_of_patches_an_image_has_the_mean(mode):
    network = bag_of_patches(mode, 4 if mode else 5)
    batch = (
        (IMAGES, LABELS, INDEX)
        if mode
        else (SetBatch(IMAGES[:6, :, :5], torch.tensor([1, 3, 2])), LABELS[:3], INDEX[:3])
    )
    logits_BK = network(batch[0], batch[2])
    points = points_of_images(network, logits_BK, batch, [0, 2])
    for point, number in zip(points, [0, 2], strict=True):
        assert torch.allclose(network.head(point.features), logits_BK[number], atol=1e-5)
    if mode is None:
        assert torch.equal(points[1].picture, IMAGES[4:6, :, :5])


@torch.no_grad()
def test_of_each_image_a_few_patches():
    network = bag_of_patches()
    points = points_of_patches(network, (IMAGES, LABELS, INDEX), [5, 6], 3)
    patches, _ = network.cut(IMAGES[5:7], INDEX[5:7])
    taken = [patch for set_nCpp in patches for patch in set_nCpp[:3]]
    assert [point.label for point in points] == [2] * min(3, int(patches.lengths[0])) + [0] * min(
        3, int(patches.lengths[1])
    )
    for point, patch in zip(points, taken, strict=True):
        assert torch.equal(point.picture, patch)
        assert torch.allclose(
            point.features, network.embed(SetBatch(patch[None], torch.tensor([1]))).values[0], atol=1e-6
        )


@pytest.mark.parametrize(("of", "points", "expected"), [("images", 100, 23), ("images", 9, 9), ("patches", 12, 12)])
def test_points_are_drawn_from_the_whole_test_set(tmp_path, monkeypatch, of, points, expected):
    drawn, draw = [], embedding.drawn_points
    monkeypatch.setattr(embedding, "drawn_points", lambda *rest: drawn.append(rest) or draw(*rest))
    network = Plain() if of == "images" else bag_of_patches()
    callback = Embedding(of, points, "pca", seed=1)
    name = "embedding" if of == "images" else "patch_embedding"
    assert shown_in_test(callback, tmp_path, torch.eye(3)[LABELS], LABELS, IMAGES, network) == [f"{name}_at_0.png"]
    ((places_M2, taken, names),) = drawn
    assert places_M2.shape == (len(taken), 2)
    assert 0.6 * expected <= len(taken) <= expected
    assert names == {label: f"class {label}" for label in {point.label for point in taken}}
    if expected == 23:
        assert {point.picture.numpy().tobytes() for point in taken} == {image.numpy().tobytes() for image in IMAGES}
    if expected == 9:
        numbers = [(point.picture == IMAGES).flatten(1).all(1).nonzero().item() for point in taken]
        assert len(set(numbers)) == 9
        assert max(numbers) > 9


def test_a_network_without_patches_has_no_picture_of_them(tmp_path):
    callback = Embedding("patches", 9, "pca", seed=0)
    assert shown_in_test(callback, tmp_path, torch.eye(3)[LABELS], LABELS, IMAGES, Plain()) == []


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_what_is_apart_stays_apart_and_the_seed_decides(method):
    generator = torch.Generator().manual_seed(0)
    centres_MD = torch.eye(3, 60).repeat_interleave(20, 0) * 20
    features_MD = centres_MD + torch.randn(60, 60, generator=generator)
    places_M2 = project_to_plane(features_MD, method, 0)
    distance_MM = torch.cdist(places_M2, places_M2)
    label_M = torch.arange(3).repeat_interleave(20)
    same_MM = label_M[:, None] == label_M
    assert distance_MM[same_MM].mean() < distance_MM[~same_MM].mean() / 2
    assert torch.equal(places_M2, project_to_plane(features_MD, method, 0))


def test_features_that_are_few_equal_or_infinite():
    assert project_to_plane(torch.tensor([[1.0], [2.0], [4.0]]), "tsne", 0).shape == (3, 2)
    assert project_to_plane(torch.randn(4, 2), "tsne", 0).isfinite().all()
    with pytest.raises(ValueError, match="the same features"):
        project_to_plane(torch.ones(5, 4), "tsne", 0)
    with pytest.raises(ValueError, match="NaN or infinite"):
        project_to_plane(torch.eye(4).log(), "pca", 0)


def test_no_image_lies_on_another():
    pixels_M2 = torch.rand(500, 2, generator=torch.Generator().manual_seed(0)) * 880
    kept = spaced_apart(pixels_M2, TILE)
    assert 20 < len(kept) <= 90
    distance_KK = (pixels_M2[kept][:, None] - pixels_M2[kept]).abs().amax(2).fill_diagonal_(1e9)
    assert distance_KK.min() > APART * TILE


@pytest.mark.parametrize("classes", [1, 10, 100])
def test_every_class_has_its_colour_and_the_first_a_name(classes):
    assert len(set(palette(classes))) == classes
    points = [Point(torch.zeros(2), label, label == 0, IMAGES[0]) for label in range(classes)]
    picture = drawn_points(torch.rand(classes, 2), points, {label: f"class {label}" for label in range(classes)})
    assert (COLOURS[0] if classes <= 10 else palette(classes)[0]) in {
        "#{:02x}{:02x}{:02x}".format(*colour) for _, colour in picture.getcolors(1 << 20)
    }


@pytest.mark.parametrize("shape", [(3, 300, 150), (2, 1, 150, 300)])
def test_large_pictures_are_kept_small(shape):
    kept = shrunk(torch.full(shape, 77, dtype=torch.uint8))
    assert kept.shape == (*shape[:-2], *((128, 64) if shape[-1] == 150 else (64, 128)))
    assert kept.dtype == torch.uint8
    assert (kept == 77).all()


def test_the_last_linear_layer_is_that_of_the_head():
    network = bag_of_patches()
    network.pool.layer = nn.Linear(2, 2)
    assert last_linear(network) is network.head[-1]
    with pytest.raises(ValueError, match="no linear layer"):
        last_linear(nn.ReLU())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("pixels", 9, "pca"), "of=pixels"), (("images", 9, "umap"), "umap"), (("images", 2, "pca"), ">= 3")],
)
def test_what_there_is_not_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        Embedding(*arguments, seed=0)


def test_two_classes_of_one_name_have_a_line_each():
    one, two = (legend([("1", colour) for colour in COLOURS[:count]]) for count in (1, 2))
    assert two.height == 2 * one.height


def test_what_is_misclassified_has_a_black_outline_as_a_picture_too():
    white = torch.full((1, 4, 4), 255, dtype=torch.uint8)
    for is_wrong in (False, True):
        sheet = Image.new("RGB", (80, 80), "white")
        paste_point(sheet, Point(torch.zeros(1), 0, is_wrong, white), TILE, (40, 40), COLOURS[0])
        assert ((0, 0, 0) in {colour for _, colour in sheet.getcolors()}) == is_wrong
