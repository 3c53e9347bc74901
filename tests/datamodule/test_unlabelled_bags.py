import numpy as np
import pytest
import torch
from bags import features_of, write_bag

from datamodule import unlabelled_bags
from datamodule.unlabelled_bags import UnlabelledBags
from process.errors import UserError


@pytest.fixture
def root(tmp_path):
    for name, length in (("a.npy", 3), ("below/b.h5", 5), ("below/a.pt", 2), ("c.npy", 4), ("c.pt", 6)):
        places = {"coords": np.zeros((length, 2))} if name == "a.npy" else {}
        write_bag(tmp_path / "features" / name, features_of(length, length, 3), **places)
    write_bag(tmp_path / "features" / ".hidden.npy", features_of(0, 3, 3))
    (tmp_path / "features" / "notes.txt").touch()
    return tmp_path


def bags(path, batch_size=8, workers=0):
    return UnlabelledBags(str(path), 3, batch_size, workers)


@pytest.mark.parametrize("workers", [0, 1])
def test_all_bags_of_a_folder_with_all_elements(root, workers):
    found = bags(root, 2, workers)
    assert found.short_names == ["a", "below/a", "below/b", "c.npy", "c.pt"]
    assert found.names[0] == str(root / "features" / "a.npy")
    batches = list(found.loader())
    assert [len(index) for _, index, _ in batches] == [2, 2, 1]
    for sets, index, unreadable in batches:
        assert not unreadable
        for one, i in zip(sets, index.tolist(), strict=True):
            length = (3, 2, 5, 4, 6)[i]
            assert torch.equal(one, torch.from_numpy(features_of(length, length, 3)))
    assert found.files[0].coords().shape == (3, 2)


def test_a_batch_has_not_too_many_elements(root, monkeypatch):
    monkeypatch.setattr(unlabelled_bags, "ELEMENTS", 7)
    assert bags(root).batches == [[0, 1], [2], [3], [4]]


def test_a_file_and_a_pattern(root):
    assert bags(root / "features" / "below" / "b.h5").short_names == ["b"]
    assert [name.rpartition("/")[2] for name in bags(f"{root}/**/*.pt").names] == ["a.pt", "c.pt"]
    with pytest.raises(UserError, match=r"nowhere: no features are there: give a file of features \(.npy .pt"):
        bags(root / "nowhere")


def test_what_cannot_be_read_is_named_and_the_others_are_read(root):
    nan = features_of(0, 3, 3)
    nan[1, 1] = np.nan
    folder = root / "features"
    write_bag(folder / "a.npy", nan)
    write_bag(folder / "c.npy", features_of(0, 3, 2))
    (folder / "c.pt").write_bytes(b"")
    sets, index, unreadable = bags(root)[0]
    assert index.tolist() == [1, 2]
    assert sets.lengths.tolist() == [2, 5]
    assert unreadable[0] == f"{folder}/a.npy: NaN or infinite features"
    assert unreadable[3] == f"{folder}/c.npy: 2 features, and the network takes 3"
    assert unreadable[4].startswith(f"{folder}/c.pt: not a .pt as torch.save writes it today")
    sets, index, unreadable = bags(folder / "c.pt")[0]
    assert (sets, len(index), list(unreadable)) == (None, 0, [0])
