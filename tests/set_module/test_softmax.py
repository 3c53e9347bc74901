import pytest
import torch

from set_module.set_batch import SetBatch
from set_module.softmax import set_softmax


def random_scores(*lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, 3, dtype=torch.float64, generator=generator) for n in lengths]


def test_equals_a_loop_over_the_sets_in_value_and_gradient():
    ours = [s.requires_grad_() for s in random_scores(5, 1, 3, 8)]
    theirs = [s.requires_grad_() for s in random_scores(5, 1, 3, 8)]
    weights = set_softmax(SetBatch.from_list(ours))
    expected = torch.cat([s.softmax(0) for s in theirs])
    torch.testing.assert_close(weights, expected, rtol=1e-12, atol=1e-12)

    direction = torch.linspace(-1, 2, weights.numel(), dtype=torch.float64).view_as(weights)
    (weights * direction).sum().backward()
    (expected * direction).sum().backward()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-12, atol=1e-12)


def test_gradcheck():
    scores = SetBatch.from_list(random_scores(3, 1, 4))
    assert torch.autograd.gradcheck(lambda v: set_softmax(scores.with_values(v)), scores.values.requires_grad_())


def test_the_level_of_the_scores_means_nothing():
    sets = [torch.tensor([[1e4], [1e4]]), torch.tensor([[-1e4], [-1e4], [-torch.inf]])]
    assert set_softmax(SetBatch.from_list(sets)).flatten().tolist() == [0.5, 0.5, 0.5, 0.5, 0.0]


def test_a_disturbed_set_changes_no_bit_of_another():
    one, other = random_scores(3, 4)
    weights = set_softmax(SetBatch.from_list([one, other]))
    for disturbance in (torch.nan, torch.inf, 1e30):
        disturbed = set_softmax(SetBatch.from_list([one, other + disturbance]))
        assert torch.equal(disturbed[:3], weights[:3])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_fp32(dtype):
    scores = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    weights = set_softmax(SetBatch.from_list([scores]))
    assert weights.dtype == dtype
    torch.testing.assert_close(weights.float(), scores.float().softmax(0), rtol=torch.finfo(dtype).eps, atol=1e-7)
    (weights[:, 0] * torch.linspace(0, 100, 1000)).sum().backward()
    assert scores.grad.dtype == dtype
    assert scores.grad[:, 0].any()
