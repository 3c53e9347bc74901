import pytest
import torch

from set_module.additive_mil import AdditiveMIL
from set_module.set_batch import SetBatch

D, K = 3, 2


def random_sets(*lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, D, dtype=torch.float64, generator=generator) for n in lengths]


@pytest.mark.parametrize("widths", [[], [5, 4]], ids=str)
def test_equals_a_loop_over_the_elements(widths):
    torch.manual_seed(0)
    module, sets = AdditiveMIL(D, K, hidden=4, widths=widths).double(), random_sets(4, 1, 6)
    V, U, w = module.attention.hidden, module.attention.gate, module.attention.score
    expected = []
    for x in sets:
        scores = torch.cat([torch.exp(w(torch.tanh(V(h)) * torch.sigmoid(U(h)))) for h in x])
        expected.append(sum(module.contribution(a * h) for a, h in zip(scores / scores.sum(), x, strict=True)))
    torch.testing.assert_close(module(SetBatch.from_list(sets)), torch.stack(expected), rtol=1e-12, atol=1e-12)


def test_the_logits_of_a_bag_are_the_sum_of_what_its_instances_contribute():
    torch.manual_seed(0)
    module, sets = AdditiveMIL(D, K, hidden=4), SetBatch.from_list([x.float() for x in random_sets(4, 1, 6)])
    found = module.outputs(sets)
    for output_K, contributions_nK in zip(found["output"], found["instance_logits"], strict=True):
        torch.testing.assert_close(contributions_nK.sum(0), output_K)


def test_widths_below_one_are_refused():
    with pytest.raises(ValueError, match=r"widths=\[4, 0\]: choose each >= 1"):
        AdditiveMIL(D, K, widths=[4, 0])
