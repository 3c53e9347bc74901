import pytest
import torch

from set_module.dsmil import DSMIL
from set_module.set_batch import SetBatch

D, K = 3, 2


def module(**settings) -> DSMIL:
    torch.manual_seed(0)
    return DSMIL(D, K, hidden=4, **settings).double()


def random_sets(*lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, D, dtype=torch.float64, generator=generator) for n in lengths]


@pytest.mark.parametrize("average", [True, False])
def test_equals_a_loop_over_the_sets_and_classes(average):
    """Compute eq. 2 to 7 of the paper."""
    dsmil, sets = module(average=average), random_sets(4, 1, 6)
    expected = []
    for x in sets:
        logits, q = dsmil.instance(x), dsmil.query(x)
        pooled, best = [], []
        for k in range(K):
            m = int(logits[:, k].argmax())
            a = torch.stack([torch.exp(q_i @ q[m] / 2) for q_i in q])  # sqrt(4) = 2
            pooled.append((a[:, None] * x).sum(0) / a.sum())
            best.append(logits[m, k])
        of_bag = dsmil.bag(torch.cat(pooled))
        expected.append((torch.stack(best) + of_bag) / 2 if average else of_bag)
    torch.testing.assert_close(dsmil(SetBatch.from_list(sets)), torch.stack(expected), rtol=1e-12, atol=1e-12)


def test_weights_sum_to_one_and_instance_logits_are_those_of_each_alone():
    dsmil, sets = module(), SetBatch.from_list(random_sets(4, 1, 6))
    found = dsmil.outputs(sets)
    for weights in found["weights"]:
        torch.testing.assert_close(weights.sum(0), torch.ones(K, dtype=torch.float64))
    torch.testing.assert_close(found["instance_logits"].values, dsmil.instance(sets.values))


def test_of_equal_logits_the_first_instance_is_critical():
    dsmil = module(average=False)
    torch.nn.init.zeros_(dsmil.instance.weight)
    (x,) = random_sets(3)
    a = (dsmil.query(x) @ dsmil.query(x[0]) / 2).softmax(0)
    expected = dsmil.bag((a @ x).repeat(K))
    torch.testing.assert_close(dsmil(SetBatch.from_list([x]))[0], expected)


def test_hidden_below_one_is_refused():
    with pytest.raises(ValueError, match="hidden=0: choose >= 1"):
        DSMIL(D, K, hidden=0)
