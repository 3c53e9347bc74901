import errno
import fcntl
import json
import logging
import multiprocessing
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodule import image_folder, pixel_cache
from datamodule.image_folder import ImageFolder
from process.errors import UserError


@pytest.fixture
def root(tmp_path):
    """Write 8 + 4 training and 2 test images of two classes."""
    for number, name in enumerate(
        [f"train/cat/{i}.bmp" for i in range(8)] + [f"train/dog/{i}.bmp" for i in range(4)] + ["test/cat/0.bmp"]
    ):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, number)
    return tmp_path / "data"


def save(path, seed):
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return the folder of the cache, in which files that were just written are taken for old ones."""
    monkeypatch.setenv("PATCH_SETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PATCH_SETS_CACHE_GIB", raising=False)
    monkeypatch.setattr(pixel_cache, "SETTLED", -3600.0)
    return tmp_path / "cache"


@pytest.fixture
def folder(settings):
    facts = {"num_classes": 2, "channels": 3, "image_size": [3, 4], "memory_limit_gib": 1}
    return lambda root, **changes: ImageFolder(root=str(root), **settings | facts | changes)


def entries(place):
    return sorted(path for path in place.iterdir() if path.suffix == pixel_cache.ENDING)


def images_of(data, part="train"):
    return data.source(part).images_NCHW


def test_a_second_start_decodes_nothing_and_gets_the_same(root, place, folder, count):
    plain = folder(root, cache=False)
    assert images_of(plain).tolist() == images_of(folder(root)).tolist()
    assert not [name for name, times in count.items() if times != 2]
    count.clear()
    again = folder(root)
    assert torch.equal(images_of(again), images_of(plain))
    assert torch.equal(again.source("train").targets, plain.source("train").targets)
    assert not count
    for one, other in zip(plain.train_dataloader(), again.train_dataloader(), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_cache_false_writes_nothing(root, place, folder):
    images_of(folder(root, cache=False))
    assert not place.exists()


def replace_keeping_date(path):
    """Write other pixels of the same size into a file, and set its date back, as an unpacked archive does."""
    before = path.stat()
    save(path, 99)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


CHANGES = {
    "other pixels with the old date": lambda root: replace_keeping_date(root / "train" / "cat" / "3.bmp"),
    "one image more": lambda root: save(root / "train" / "cat" / "8.bmp", 50),
    "one image less": lambda root: (root / "train" / "dog" / "0.bmp").unlink(),
    "two names swapped": lambda root: [
        (root / "train" / "cat" / a).rename(root / "train" / "cat" / b)
        for a, b in (("0.bmp", "x.bmp"), ("1.bmp", "0.bmp"), ("x.bmp", "1.bmp"))
    ],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_folder_is_decoded_anew(root, place, folder, change):
    before = images_of(folder(root)).clone()
    time.sleep(0.02)  # the clock of a file system has steps of a few milliseconds
    CHANGES[change](root)
    after = images_of(folder(root))
    assert torch.equal(after, images_of(folder(root, cache=False)))
    assert not torch.equal(after, before)


@pytest.mark.parametrize(
    "setting", [{"image_size": [2, 2]}, {"channels": 1}, {"white": 300.0}, {"max_megapixels": 1}], ids=str
)
def test_each_setting_that_decides_the_pixels_has_its_own_entry(root, place, folder, setting):
    images_of(folder(root))
    changed = images_of(folder(root, **setting))
    assert len(entries(place)) == 2
    assert torch.equal(changed, images_of(folder(root, cache=False, **setting)))


def test_another_decoder_has_its_own_entry(root, place, folder, count, monkeypatch):
    images_of(folder(root))
    count.clear()
    monkeypatch.setattr(image_folder, "decoder_version", lambda: "another")
    images_of(folder(root))
    assert len(count) == 12


def test_the_cache_is_no_way_around_the_limit_of_pixels(root, place, folder):
    images_of(folder(root))
    with pytest.raises(UserError, match=r"12 pixels are more than data.max_megapixels=1e-05 allows"):
        images_of(folder(root, max_megapixels=1e-5))


DAMAGES = {
    "a pixel": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "shortened": lambda data: data[:-1],
    "lengthened": lambda data: data + b"x",
    "empty": lambda data: b"",
    "header": lambda data: b"x" + data[1:],
    "header of another entry": lambda data: data.replace(b'"entry": "', b'"entry": "0'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_made_anew(root, place, folder, count, damage):
    right = images_of(folder(root)).clone()
    (entry,) = entries(place)
    sound = entry.read_bytes()
    entry.unlink()
    entry.write_bytes(DAMAGES[damage](sound)[: len(sound) + 1])
    count.clear()
    assert torch.equal(images_of(folder(root)), right)
    assert len(count) == 12
    assert entry.read_bytes() == sound


def test_an_entry_that_is_a_link_or_a_pipe_is_not_read(root, place, folder, tmp_path):
    right = images_of(folder(root)).clone()
    (entry,) = entries(place)
    entry.rename(tmp_path / "elsewhere")
    entry.symlink_to(tmp_path / "elsewhere")
    assert torch.equal(images_of(folder(root)), right)
    entry.unlink()
    os.mkfifo(entry)
    assert torch.equal(images_of(folder(root)), right)


def test_what_a_run_writes_into_its_images_stays_its_own(root, place, folder):
    right = images_of(folder(root)).clone()
    images_of(folder(root)).fill_(0)
    assert torch.equal(images_of(folder(root)), right)


def test_files_that_may_still_change_unnoticed_are_not_kept(root, place, folder, monkeypatch):
    monkeypatch.setattr(pixel_cache, "SETTLED", 3600.0)
    images_of(folder(root))
    assert not place.exists()


def test_files_that_change_while_they_are_decoded_are_not_kept(root, place, folder, monkeypatch):
    original = image_folder.FileSource.decoded

    def decoded(self, position_R):
        images = original(self, position_R)
        time.sleep(0.02)
        save(root / "train" / "cat" / "0.bmp", 99)
        return images

    monkeypatch.setattr(image_folder.FileSource, "decoded", decoded)
    images_of(folder(root))
    assert entries(place) == []


def start(root, settings, facts, barrier, results):
    decoded = []
    original = image_folder.FileSource.decoded

    def slow(self, position_R):
        decoded.append(1)
        time.sleep(0.3)
        return original(self, position_R)

    image_folder.FileSource.decoded = slow
    barrier.wait()
    images = ImageFolder(root=str(root), **settings | facts).source("train").images_NCHW
    results.put((len(decoded), int(images.long().sum())))


def test_one_of_several_starts_decodes(root, place, settings):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(3), context.Queue()
    facts = {"num_classes": 2, "channels": 3, "image_size": [3, 4], "memory_limit_gib": 1}
    jobs = [context.Process(target=start, args=(root, settings, facts, barrier, results)) for _ in range(3)]
    for job in jobs:
        job.start()
    found = [results.get(timeout=60) for _ in jobs]
    for job in jobs:
        job.join()
    assert sorted(decoded for decoded, _ in found) == [0, 0, 1]
    assert len({total for _, total in found}) == 1
    assert [path.name for path in place.iterdir()] == [entries(place)[0].name]  # no lock, no temporary file


def test_a_start_waits_for_one_that_decodes(root, place, folder, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    images_of(folder(root))
    (entry,) = entries(place)
    content = entry.read_bytes()
    entry.unlink()
    lock = os.open(entry.with_name(f".{entry.name}.lock"), os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    waiting = threading.Event()
    monkeypatch.setattr(pixel_cache.time, "sleep", lambda seconds: waiting.set() or threading.Event().wait(seconds))

    def finish():
        waiting.wait(60)
        entry.write_bytes(content)
        os.close(lock)

    other = threading.Thread(target=finish)
    other.start()
    data = folder(root)
    monkeypatch.setattr(image_folder.FileSource, "decoded", lambda *_: pytest.fail("decodes"))
    images_of(data)
    other.join()
    assert sum("waiting for another process" in record.getMessage() for record in caplog.records) == 1


def test_without_locks_images_are_kept_as_well(root, place, folder, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    images_of(folder(root))
    assert len(entries(place)) == 1


def test_the_entries_that_were_used_longest_ago_are_removed(root, place, folder, monkeypatch):
    size = 12 * 3 * 3 * 4 + pixel_cache.HEADER
    monkeypatch.setenv("PATCH_SETS_CACHE_GIB", str(2.5 * size / 2**30))
    for megapixels in (1, 2):
        images_of(folder(root, max_megapixels=megapixels))
    first, second = entries(place)
    os.utime(first, (1, 1))
    os.utime(second, (2, 2))
    stranger = place / "notes.txt"
    stranger.write_text("kept")
    left = place / f".x{pixel_cache.ENDING}.abcdefgh"  # of a process that was killed
    left.touch()
    os.utime(left, (1, 1))
    for megapixels in (1, 2):  # used: the times are new
        images_of(folder(root, max_megapixels=megapixels))
    os.utime(first, (1, 1))
    images_of(folder(root, max_megapixels=3))
    assert not first.exists()
    assert second.exists()
    assert second.stat().st_mtime > 2
    assert len(entries(place)) == 2
    assert stranger.exists()
    assert not left.exists()


def test_what_exceeds_the_limit_is_not_kept(root, place, folder, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("PATCH_SETS_CACHE_GIB", "0")
    images_of(folder(root))
    assert not place.exists()
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"{root}: train: decoded images of 0.0 MiB are not kept: {pixel_cache.LIMIT}=0"


@pytest.mark.parametrize("text", ["many", "-1", "nan"])
def test_refuses_a_limit_that_is_no_number(root, place, folder, monkeypatch, text):
    monkeypatch.setenv("PATCH_SETS_CACHE_GIB", text)
    with pytest.raises(UserError, match=rf"^{pixel_cache.LIMIT}={text}: give a number of GiB, such as 20$"):
        images_of(folder(root))


def fail_to_write(monkeypatch, place):
    def full(path, mode):
        raise UserError(f"cannot write {path}: No space left on device; free some space")

    monkeypatch.setattr(pixel_cache, "replacing", full)


def forbid(monkeypatch, place):
    place.write_text("a file where the folder should be")


def little_room(monkeypatch, place):
    monkeypatch.setattr(pixel_cache.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 5000}))


def not_writable(monkeypatch, place):
    place.mkdir()
    monkeypatch.setattr(pixel_cache.os, "access", lambda *_: False)


@pytest.mark.parametrize("trouble", [fail_to_write, forbid, little_room, not_writable])
def test_without_a_place_for_it_images_are_decoded_and_one_line_says_so(
    root, place, folder, monkeypatch, caplog, trouble
):
    caplog.set_level(logging.INFO)
    trouble(monkeypatch, place)
    right = images_of(folder(root, cache=False))
    assert torch.equal(images_of(folder(root)), right)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "not kept" in line
    assert "\n" not in line


def test_a_full_disk_leaves_no_part_of_an_entry(root, small_disk, folder, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(pixel_cache, "SETTLED", -3600.0)
    monkeypatch.setenv("PATCH_SETS_CACHE", str(small_disk))
    monkeypatch.setattr(pixel_cache.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 2**40}))
    assert len(images_of(folder(root, image_size=[500, 500]))) == 12  # 9 MB on 8 MiB
    assert list(small_disk.iterdir()) == []
    assert "No space left on device" in caplog.text


def test_the_folder_is_that_of_the_user(monkeypatch, tmp_path):
    monkeypatch.delenv("PATCH_SETS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert pixel_cache.cache_folder() == tmp_path / "patch_sets"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert pixel_cache.cache_folder() == tmp_path / ".cache" / "patch_sets"

    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert pixel_cache.cache_folder() is None
    images = pixel_cache.cached({}, (1, 1, 1, 1), lambda: torch.ones(1, 1, 1, 1), lambda: True, "x")
    assert images.sum() == 1


def test_an_entry_holds_pixels_behind_a_header_of_a_page(root, place, folder):
    images = images_of(folder(root))
    (entry,) = entries(place)
    data = entry.read_bytes()
    assert json.loads(data[:4096])["shape"] == [12, 3, 3, 4]
    assert data[4096:] == images.numpy().tobytes()
    assert place.stat().st_mode & 0o777 == 0o700


def test_limited_images_are_kept_too_and_taken_from_the_whole_if_that_is_kept(root, place, folder, count):
    first = folder(root, limit_train=2, valid=3)
    batch = next(iter(first.train_dataloader()))
    count.clear()
    assert torch.equal(next(iter(folder(root, limit_train=2, valid=3).train_dataloader()))[0], batch[0])
    assert not count
    images_of(folder(root))
    count.clear()
    for limit in (2, 4):
        other = folder(root, limit_train=limit, valid=3)
        images, _, index = next(iter(other.train_dataloader()))
        assert torch.equal(images, images_of(folder(root))[index])
    assert not count
