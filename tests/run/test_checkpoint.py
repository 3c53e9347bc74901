import warnings

import pytest
import torch
from torch import nn

from process.errors import UserError
from run.checkpoint import find_checkpoint, init_from, load, load_weights, misfits, restore


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    return tmp_path


def save(path, **weights):
    torch.save({"state_dict": weights, "epoch": 3}, path)
    return path


def network(classes=2):
    """A network with the parameters 0.weight, 0.bias, 1.weight and 1.bias."""
    torch.manual_seed(classes)
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, classes))


def test_best_and_last_are_found_by_name_and_others_by_path(folder):
    best, last = (save(folder / "checkpoints" / f"{name}.ckpt") for name in ("best", "last"))
    assert (find_checkpoint(folder, "best"), find_checkpoint(folder, "last")) == (best, last)
    assert find_checkpoint(folder, str(best)) == best


def test_without_a_validation_the_last_is_the_best(folder):
    last = save(folder / "checkpoints" / "last.ckpt")
    assert find_checkpoint(folder, "best") == last


def test_a_missing_checkpoint_is_refused_with_what_there_is(folder):
    with pytest.raises(UserError, match=r"no checkpoint .*last\.ckpt: did the run finish an epoch.* resume="):
        find_checkpoint(folder, "best")
    other = save(folder / "checkpoints" / "epoch=3.ckpt")
    with pytest.raises(UserError, match=rf"there is {other}"):
        find_checkpoint(folder, "last")
    with pytest.raises(UserError, match=r"no checkpoint absent\.ckpt: .* best or last"):
        find_checkpoint(folder, "absent.ckpt")


def test_all_that_was_saved_is_loaded(folder):
    path = save(folder / "a.ckpt", weight=torch.ones(2))
    assert load(path)["epoch"] == 3
    assert load_weights(path)["weight"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_damaged_file_is_refused(folder, content):
    (folder / "a.ckpt").write_bytes(content)
    with pytest.raises(UserError, match=r"cannot read the checkpoint .*: damaged, or not one of this project"):
        load(folder / "a.ckpt")


def test_a_checkpoint_runs_no_code(folder):
    class Code:
        def __reduce__(self):
            return (folder.joinpath("ran").touch, ())

    torch.save({"state_dict": {}, "code": Code()}, folder / "a.ckpt")
    with pytest.raises(UserError, match="cannot read the checkpoint"):
        load(folder / "a.ckpt")
    assert not (folder / "ran").exists()


def test_misfits_name_each_weight_that_is_missing_unknown_or_of_another_shape():
    weights = network(classes=5).state_dict()
    weights["2.weight"] = weights.pop("0.bias")
    assert sorted(misfits(network(classes=2), weights)) == [
        "0.bias is missing in the checkpoint",
        "1.bias is [5] in the checkpoint, [2] in the network",
        "1.weight is [5, 4] in the checkpoint, [2, 4] in the network",
        "2.weight is not in the network",
    ]
    assert misfits(network(), network().state_dict()) == []


def test_restore_takes_all_weights_or_none(folder):
    model, other = network(), network(classes=5)
    path = save(folder / "a.ckpt", **{name: torch.full_like(w, 7) for name, w in model.state_dict().items()})
    restore(model, path)
    assert all((weight == 7).all() for weight in model.state_dict().values())
    with pytest.raises(UserError, match=r"does not fit \(1\.bias is \[2\] in the checkpoint, \[5\] in the network\)"):
        restore(other, path)


def test_init_from_takes_the_weights_that_fit(folder):
    weights = network(classes=5).state_dict()
    save(folder / "checkpoints" / "best.ckpt", **weights)
    model = network(classes=2)
    head = model[1].weight.detach().clone()
    init_from(model, str(folder))
    assert torch.equal(model[0].weight, weights["0.weight"])
    assert torch.equal(model[1].weight, head)
    with pytest.raises(UserError, match="no weight fits this network"):
        init_from(nn.Linear(9, 9), str(folder))


def other_types():
    """Return (value in place of a weight, what the one line says)."""
    dense = torch.ones(4, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch will remove quantised tensors
        quantised = torch.quantize_per_tensor(dense, 0.1, 0, torch.qint8)
    return [
        ([[1.0] * 3] * 4, r"no dense tensor in the checkpoint \(list\)"),
        (None, r"no dense tensor in the checkpoint \(NoneType\)"),
        ("text", r"no dense tensor in the checkpoint \(str\)"),
        (dense.to_sparse(), r"no dense tensor in the checkpoint \(Tensor\)"),
        (dense.to("meta"), r"no dense tensor in the checkpoint \(Tensor\)"),
        (quantised, r"no dense tensor in the checkpoint \(Tensor\)"),
        (dense.to(torch.int64), "int64 in the checkpoint, and floating point in the network"),
        (dense.to(torch.complex64), "complex64 in the checkpoint, and floating point in the network"),
        (dense.to(torch.float8_e4m3fn), "float8_e4m3fn in the checkpoint, and floating point in the network"),
        (torch.ones(()).expand(10**6, 10**6), r"\[1000000, 1000000\] in the checkpoint, \[4, 3\] in the network"),
    ]


@pytest.mark.parametrize("case", range(10))
def test_a_weight_of_another_type_is_refused_by_its_name(folder, case):
    value, words = other_types()[case]
    model = network()
    path = save(folder / "checkpoints" / "best.ckpt", **(model.state_dict() | {"0.weight": value}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UserError, match=rf"does not fit \(0\.weight is {words}\)") as caught:
            restore(model, path)
        init_from(model, str(folder))  # takes the others
    assert "\n" not in str(caught.value)


def test_weights_of_another_precision_and_nan_are_loaded(folder):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    weights = {name: w.half() if w.is_floating_point() else w.int() for name, w in model.state_dict().items()}
    weights["0.bias"] = torch.full((4,), torch.nan, dtype=torch.float64)
    restore(model, save(folder / "a.ckpt", **weights))
    assert model[0].bias.isnan().all()
    assert model[0].weight.dtype == torch.float32


def endless():
    value = {}
    value["again"] = value
    return value


def shared():
    value = [1]
    for _ in range(30):
        value = [value] * 9
    return value


@pytest.mark.parametrize("make", [endless, shared])
def test_a_checkpoint_that_stands_for_endless_values_is_refused(folder, make):
    torch.save({"state_dict": {}, "callbacks": make()}, folder / "a.ckpt")
    with pytest.raises(UserError, match=r"is damaged: .* it holds too many values"):
        load(folder / "a.ckpt")


@pytest.mark.parametrize("weights", [[], "text", {3: torch.ones(2)}, torch.ones(2)])
def test_weights_without_names_are_refused(folder, weights):
    torch.save({"state_dict": weights}, folder / "a.ckpt")
    with pytest.raises(UserError, match=r"the checkpoint .* is damaged"):
        load(folder / "a.ckpt")
