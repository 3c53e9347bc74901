"""Batches are patches of the files, read ahead in threads, the same as those of the images in memory."""

import pickle
import shutil

import numpy as np
import pytest
import torch
from large import means, pixels, write

from datamodule import large_images
from datamodule.large_images import LargeImages, UnreadableImageError
from process.errors import UserError
from set_module.lazy_images import LazyImages
from set_module.patch_cutout import PatchCutout

SIZES = [(90, 100), (64, 300), (200, 70), (128, 128), (65, 65)]
KINDS = [".npy", ".zarr", ".tif"]


@pytest.fixture
def root(tmp_path):
    """Five images of two classes in files of three kinds."""
    for number, size in enumerate(SIZES):
        name = f"{number}{KINDS[number % 3]}"
        write(tmp_path / "train" / "ab"[number % 2] / name, pixels(*size, seed=number), levels=2)
    return tmp_path


@pytest.fixture
def large(settings, root):
    facts = {"channels": 3, "image_size": None, "num_classes": 2, "valid": 0, "lazy": True, "batch_size": 3}
    return lambda **changes: LargeImages(**settings | facts | {"root": str(root)} | changes)


def number_of(data, index):
    """Return the number that an image was written with."""
    return int(data.source("train").reader.paths[index].stem)


@pytest.mark.parametrize("workers", [None, 0, 2])
def test_batches_are_patches_of_the_files(large, workers):
    data, cutout = large(num_workers=workers), PatchCutout(16, (1, 9), seed=1)
    data.setup()
    seen = []
    for images, labels, index_B in data.train_dataloader():
        assert isinstance(images, LazyImages)
        for b, index in enumerate(index_B.tolist()):
            number = number_of(data, index)
            whole = torch.from_numpy(pixels(*SIZES[number], seed=number)).permute(2, 0, 1)[None]
            assert torch.equal(cutout(images, index_B)[b], cutout(whole, index_B[b : b + 1]).values)
            assert int(labels[b]) == number % 2
            seen.append(number)
    assert sorted(seen) == list(range(5))


def plan(data, cutout, part="train"):
    """Return the part of the data whose patches a network with this cutout takes."""
    planned = data._part(part)
    planned.cutout = cutout
    return planned


def test_patches_are_read_ahead_where_the_network_will_cut(large, monkeypatch):
    data, cutout = large(), PatchCutout(16, (1, 9), seed=1, test_count=5)
    data.setup()
    part, reads = plan(data, cutout), []
    monkeypatch.setattr(LazyImages, "_read", lambda self, *a, read=LazyImages._read: reads.append(1) or read(self, *a))
    for indices, training, epoch in (((3, [0, 2]), True, 3), ([0, 2], False, 9)):
        images, _, index_B = part.__getitems__(indices)
        cutout.train(training).set_epoch(epoch)
        before = len(reads)
        assert before == 1
        patches = cutout(images, index_B)
        assert len(reads) == before
        images._ahead = None
        assert torch.equal(cutout(images, index_B).values, patches.values)
        reads.clear()
    assert part.needs_epoch


def test_the_places_of_a_validation_are_planned_while_the_network_trains(large):
    data, cutout = large(), PatchCutout(16, 3, seed=1)
    data.setup()
    cutout.train().set_epoch(5)
    images, _, index_B = plan(data, cutout).__getitems__([1, 2])
    assert torch.equal(images._ahead[0].values, cutout.eval().positions(images, index_B).values)
    assert cutout.epoch == 5


def test_a_reader_comes_out_of_a_pickle_and_closes_files(large, root, monkeypatch):
    monkeypatch.setattr(large_images, "OPEN", 1)
    data = large()
    reader = data.source("train").reader
    again = pickle.loads(pickle.dumps(reader))
    corners = torch.tensor([[0, 0], [40, 30]])
    for item in (0, 1, 0):
        assert torch.equal(again.read(item, corners, 20), reader.read(item, corners, 20))
        assert len(again._files) == 1


@pytest.mark.parametrize("scale", [1, 2, 4, 50])
def test_a_thumbnail_comes_from_a_smaller_level(large, scale):
    reader = large().source("train").reader
    for item, (height, width) in enumerate(reader.sizes):
        image = pixels(height, width, seed=int(reader.paths[item].stem))
        found = reader.thumbnail(item, scale)
        assert found.shape == (3, -(-height // scale), -(-width // scale))
        whole = torch.from_numpy(means(image, scale)).permute(2, 0, 1).int()
        inside = found[:, : whole.shape[1], : whole.shape[2]].int()
        assert (inside - whole).abs().max() <= (1 if scale > 1 else 0)  # a mean of rounded means


def test_grey_of_colour_and_colour_of_grey(large, root):
    np.save(root / "train" / "a" / "0.npy", pixels(90, 100, 1))
    images = [large(channels=channels).source("train").reader.read(0, torch.tensor([[1, 2]]), 5) for channels in (1, 3)]
    assert [list(image.shape) for image in images] == [[1, 1, 5, 5], [1, 3, 5, 5]]
    assert torch.equal(images[0].expand(-1, 3, -1, -1), images[1])


@pytest.mark.parametrize(("channels", "mode"), [(3, "random"), (3, "grid"), (1, "random")])
def test_patches_of_background_are_not_chosen(large, root, channels, mode):
    image = np.full((300, 400, 3), 240, np.uint8)  # bright, without colour
    image[100:220, 150:300] = (200, 60, 120)
    for path in (root / "train" / "a").iterdir():
        path.unlink() if path.is_file() else shutil.rmtree(path)
    write(root / "train" / "a" / "slide.tif", image, levels=3)
    data = large(tissue=0.5, channels=channels, tissue_threshold=0.3)
    images = LazyImages(data.source("train").reader, [0])
    patches = PatchCutout(32, 200 if mode == "random" else None, mode=mode)(images).values
    share = (patches[:, 0] == patches[:, 0].min()).float().mean((1, 2))
    assert share.min() > 0.3  # the mask is coarser than pixels
    assert len(share) >= 12
    everywhere = PatchCutout(32, 200)(LazyImages(large().source("train").reader, [0])).values
    assert ((everywhere[:, 1] == 60).float().mean((1, 2)) < 0.3).any()


def test_an_image_without_tissue_is_named(large):
    images = LazyImages(large(tissue=1.0, tissue_threshold=1.0).source("train").reader, [0])
    with pytest.raises(UnreadableImageError, match=r"a/0.npy: no patch of 16 pixels has data.tissue=1.0 of tissue"):
        PatchCutout(16, 2)(images)


def test_wrong_files_are_all_named(large, root):
    np.save(root / "train" / "a" / "0.npy", np.zeros((9, 9), np.float32))
    (root / "train" / "a" / "2.tif").write_bytes(b"")
    with pytest.raises(UserError, match=r"float32, not uint8: train/a/0.npy; cannot be read .*: train/a/2.tif"):
        large().setup()
    with pytest.raises(UserError, match=r"data.channels=2: choose 1 \(grey\) or 3 \(RGB\)"):
        large(channels=2)


def test_a_file_that_breaks_while_it_is_used_is_named(large, root):
    reader = large().source("train").reader
    item = next(item for item, path in enumerate(reader.paths) if path.suffix == ".tif")
    reader.paths[item].write_bytes(b"")
    with pytest.raises(UnreadableImageError, match=r"2.tif: cannot be read .*: replace or remove it"):
        reader.read(item, torch.tensor([[0, 0]]), 20)


def test_a_grid_of_more_patches_than_memory_holds_is_refused(large, monkeypatch):
    data = large()
    data.setup()
    cutout = PatchCutout(16, mode="grid", stride=8)
    monkeypatch.setattr(large_images, "MOST_BYTES", 300 * 3 * 16**2 * 3)  # 300 patches of each of three images
    data._check_sizes(data._part("train"), cutout)
    monkeypatch.setattr(large_images, "MOST_BYTES", 200 * 3 * 16**2 * 3)
    with pytest.raises(UserError, match=r"64x300 pixels, of which model/selection=grid takes 259 patches: choose"):
        data._check_sizes(data._part("train"), cutout)


@pytest.mark.parametrize(
    ("cutout", "message"),
    [
        (PatchCutout(66, 3), r"65x65 pixels, smaller for a patch of hparams.patch_size=66"),
        (PatchCutout(64, 5, replace=False), r"65x65 pixels, fewer than hparams.patch_num_max=5 places"),
    ],
)
def test_an_image_that_is_too_small_is_named(large, cutout, message):
    data = large()
    data.setup()
    with pytest.raises(UserError, match=message):
        data._check_sizes(data._part("train"), cutout)
