"""The patch network is a function of sets."""

from functools import partial

import pytest
import torch

from network.mlp_embed import MLPEmbed
from network.patch_set import PatchSet
from set_module.pma import PMA
from set_module.reduce_pool import ReducePool
from set_module.set_batch import SetBatch


def build(patch_size: int = 5, patch_num: tuple[int, int] = (1, 8), seed: int = 0) -> PatchSet:
    torch.manual_seed(0)
    return PatchSet(
        channels=3,
        image_size=[16, 12],
        num_outputs=4,
        mean=[0.5],
        std=[0.25],
        patch_size=patch_size,
        patch_num_min=patch_num[0],
        patch_num_max=patch_num[1],
        seed=seed,
        embed=partial(MLPEmbed, widths=[16, 16]),
        pool=partial(ReducePool, reductions=["mean", "max", "std"]),
    )


IMAGES = torch.randint(256, (6, 3, 16, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_reads_as_its_equation_for_any_order_of_the_patches():
    model = build().double().eval()
    patches = model.cutout(IMAGES)
    shuffled = SetBatch.from_list([p.flip(0) for p in patches])
    assert not torch.equal(patches.values, shuffled.values)
    with torch.no_grad():
        logits, reordered = (model.head(model.pool(model.embed(sets))) for sets in (patches, shuffled))
        torch.testing.assert_close(logits, reordered, rtol=1e-12, atol=1e-12)
        assert torch.equal(logits, model(IMAGES))


def test_evaluation_is_the_same_in_every_epoch_and_training_is_not():
    model = build()
    for evaluate in (True, False):
        model.train(not evaluate)
        outputs = []
        for epoch in (0, 1):
            model.cutout.set_epoch(epoch)
            outputs.append(model(IMAGES))
        assert torch.equal(*outputs) == evaluate


def test_in_training_too_an_image_does_not_depend_on_the_others():
    model = build(seed=3).train()
    alone, together = model(IMAGES[:1], torch.tensor([7])), model(IMAGES, torch.arange(7, 13))
    torch.testing.assert_close(alone[0], together[0], rtol=1e-4, atol=1e-5)


def test_the_index_decides_on_the_patches():
    model = build().eval()
    assert torch.equal(model(IMAGES), model(IMAGES, torch.arange(6)))
    assert not torch.equal(model(IMAGES), model(IMAGES, torch.arange(6, 12)))
    assert not torch.equal(model(IMAGES), build(seed=1).eval()(IMAGES))


def test_patch_num_is_read_and_set():
    model = build()
    assert model.patch_num == (1, 8)
    model.patch_num = 3
    assert model.patch_num == (3, 3)
    assert model.cutout(IMAGES).lengths.tolist() == [3] * 6
    model.patch_num = (2, 4)
    assert model.patch_num == (2, 4)
    with pytest.raises(ValueError, match="patch_num="):
        model.patch_num = 0


def test_a_patch_larger_than_the_image_is_refused_at_construction():
    assert build(patch_size=12)(IMAGES).shape == (6, 4)
    with pytest.raises(ValueError, match="patch_size=13 exceeds the image width 12: choose <= 12"):
        build(patch_size=13)
    with pytest.raises(ValueError, match="patch_num="):
        build(patch_num=(5, 4))


SEEDS = partial(PMA, heads=2, seeds=3)


def of_seeds(num_outputs: int = 6, pool=SEEDS, **settings) -> PatchSet:
    torch.manual_seed(0)
    facts = {"channels": None, "image_size": None, "mean": [0.0], "std": [1.0], "features": 2}
    cut = {"patch_size": None, "patch_num_min": 1, "patch_num_max": 4, "seed": 0, "sets": True}
    embed = partial(MLPEmbed, widths=[8])
    return PatchSet(num_outputs=num_outputs, embed=embed, pool=pool, **facts, **cut, **settings).eval()


def test_a_shared_head_reads_each_vector_of_the_pool_by_itself():
    network = of_seeds(shared_head=True, hidden=[4])
    sets = SetBatch(torch.randn(5, 2), [2, 3])
    pooled_B24 = network.pool(network.encode(sets))
    expected = torch.cat([network.head(pooled_B24[:, first : first + 8]) for first in (0, 8, 16)], dim=1)
    assert expected.shape == (2, 6)
    torch.testing.assert_close(network(sets), expected)


def test_a_shared_head_needs_vectors_that_divide_the_outputs():
    with pytest.raises(ValueError, match="the 3 vectors of the pool do not divide 7 outputs"):
        of_seeds(7, shared_head=True)
    with pytest.raises(ValueError, match="this pool makes one vector of a set"):
        of_seeds(pool=partial(ReducePool, reductions=["mean"]), shared_head=True)


def test_without_the_norm_a_head_keeps_the_scale_of_its_input():
    network = of_seeds(pool=partial(ReducePool, reductions=["sum"]), hidden=[4], hidden_norm=False)
    assert [type(layer).__name__ for layer in network.head[0]] == ["Linear", "ReLU"]
