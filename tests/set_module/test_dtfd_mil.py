import pytest
import torch
from torch.nn.functional import cross_entropy

from set_module.dtfd_mil import DTFDMIL, DTFDLoss
from set_module.set_batch import SetBatch

D, K = 3, 2


def build(pseudo_bags: int = 3) -> DTFDMIL:
    torch.manual_seed(0)
    return DTFDMIL(D, K, pseudo_bags=pseudo_bags, hidden=4).double()


def random_sets(*lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, D, dtype=torch.float64, generator=generator) for n in lengths]


def test_evaluation_equals_a_loop_over_pseudo_bags_by_rank():
    module, sets = build().eval(), random_sets(7, 1, 3)
    found = module.outputs(SetBatch.from_list(sets), DTFDMIL.known)
    first, second = module.pools
    for number, x in enumerate(sets):
        order = first.scores(SetBatch.from_list([x])).values[:, 0].argsort(descending=True)
        bags = [x[order[m :: min(3, len(x))]] for m in range(min(3, len(x)))]
        distilled = torch.cat([first(SetBatch.from_list([bag])) for bag in bags])
        torch.testing.assert_close(found["pseudo_logits"][number], module.heads[0](distilled))
        expected = module.heads[1](second(SetBatch.from_list([distilled])))[0]
        torch.testing.assert_close(found["output"][number], expected)
        torch.testing.assert_close(found["weights"][number].sum(), torch.ones((), dtype=torch.float64))
        pooled = (found["weights"][number] * x).sum(0)
        torch.testing.assert_close(module.heads[1](pooled), expected)


def test_training_draws_pseudo_bags_whose_sizes_differ_by_one():
    module, sets = build(), SetBatch.from_list(random_sets(7, 1, 2))
    drawn = [module._pseudo_bags(sets) for _ in range(2)]
    assert [pseudo_bags.lengths.tolist() for _, pseudo_bags, _ in drawn] == [[3, 2, 2, 1, 1, 1]] * 2
    assert not torch.equal(drawn[0][0], drawn[1][0])
    assert all(torch.equal(order.sort().values, torch.arange(10)) for order, _, _ in drawn)


def test_evaluation_does_not_depend_on_the_order_nor_on_the_batch():
    module, sets = build().eval(), random_sets(7, 1, 2)
    together = module(SetBatch.from_list(sets))
    torch.testing.assert_close(module(SetBatch.from_list([x.flip(0) for x in sets])), together)
    torch.testing.assert_close(torch.cat([module(SetBatch.from_list([x])) for x in sets]), together)


def test_the_loss_is_that_of_both_tiers():
    module, labels = build(), torch.tensor([1, 0])
    found = module.outputs(SetBatch.from_list(random_sets(7, 2)), DTFDMIL.known)
    tiers = [cross_entropy(x, label.expand(len(x))) for x, label in zip(found["pseudo_logits"], labels, strict=True)]
    expected = cross_entropy(found["output"], labels) + torch.stack(tiers).mean()
    loss = DTFDLoss()(found["output"], labels, found)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_no_pseudo_bag_is_refused():
    with pytest.raises(ValueError, match="pseudo_bags=0: choose >= 1"):
        build(0)
