from types import SimpleNamespace

import pytest
import torch
from small_fit import Save, batches, classifier, fit

from callback.gradient_norm import GradientNorm


def norms(sizes, accumulate=1):
    """Of a plain loop, for each optimizer step."""
    model, found = classifier(), []
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    for number, (images, labels, _) in enumerate(batches(sizes), 1):
        (model.loss(model.network(images), labels) / accumulate).backward()
        if number % accumulate == 0 or number == len(sizes):
            found.append(float(torch.cat([p.grad.flatten() for p in model.parameters()]).norm()))
            sgd.step()
            sgd.zero_grad()
    return found


def test_of_all_gradients_together(tmp_path):
    _, rows = fit([GradientNorm()], [4] * 4, tmp_path)
    assert [row["grad_norm"] for row in rows] == pytest.approx(norms([4] * 4))


def test_before_clipping(tmp_path):
    _, (row,) = fit([GradientNorm()], [4], tmp_path, gradient_clip_val=1e-6)
    assert [row["grad_norm"]] == pytest.approx(norms([4]))


def test_of_the_last_step_where_gradients_accumulate(tmp_path):
    # batches 1 to 7, steps after 3, 6 and 7, rows after 2, 4 and 6
    settings = {"accumulate_grad_batches": 3, "log_every_n_steps": 2}
    _, rows = fit([GradientNorm()], [4] * 7, tmp_path, **settings)
    first, second, _ = norms([4] * 7, accumulate=3)
    assert [row.get("grad_norm") for row in rows] == [None, pytest.approx(first), pytest.approx(second)]


def test_is_kept_in_a_checkpoint_between_its_step_and_its_row(tmp_path):
    # steps after batches 3 and 4 of an epoch of 4, a row after the first batch of the second epoch
    settings = {"accumulate_grad_batches": 3, "log_every_n_steps": 5, "max_epochs": 2}
    checkpoint = tmp_path / "first epoch.ckpt"
    _, (whole,) = fit([GradientNorm(), Save(checkpoint)], [4] * 4, tmp_path, **settings)
    _, (rest,) = fit([GradientNorm()], [4] * 4, tmp_path, resume=checkpoint, **settings)
    assert rest["grad_norm"] == whole["grad_norm"] == pytest.approx(norms([4] * 4, accumulate=3)[1])


def test_computes_nothing_at_steps_that_are_not_logged(tmp_path, monkeypatch):
    computed = []
    real = torch.nn.utils.get_total_norm
    monkeypatch.setattr("callback.gradient_norm.get_total_norm", lambda g: computed.append(0) or real(g))
    fit([GradientNorm()], [4] * 9, tmp_path, log_every_n_steps=3)
    assert len(computed) == 3


@pytest.mark.parametrize(("fused", "expected"), [(True, 5 / 8), (False, 5)])
def test_without_the_scale_that_half_precision_gives_to_losses(fused, expected):
    weight = torch.zeros(2, requires_grad=True)
    weight.grad = torch.tensor([3.0, 4.0])
    optimizer = torch.optim.SGD([weight], lr=0.1)
    optimizer._step_supports_amp_scaling = fused  # Lightning leaves it to such an optimizer to divide by the scale
    scaler = SimpleNamespace(get_scale=lambda: 8.0)
    trainer = SimpleNamespace(
        log_every_n_steps=1,
        accumulate_grad_batches=1,
        fit_loop=SimpleNamespace(total_batch_idx=0),
        precision_plugin=SimpleNamespace(scaler=scaler),
    )
    callback = GradientNorm()
    callback.on_before_optimizer_step(trainer, None, optimizer)
    assert float(callback.norm) == expected
