import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from set_module.clam import CLAM, CLAMLoss
from set_module.set_batch import SetBatch

D, K = 4, 3


def build(multi_branch: bool) -> CLAM:
    torch.manual_seed(0)
    return CLAM(D, K, hidden=5, multi_branch=multi_branch).double()


def random_sets(*lengths: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, D, dtype=torch.float64, generator=generator) for n in lengths]


def authors_loss(clam: CLAM, x: Tensor, label: int, samples: int, subtyping: bool) -> Tensor:
    """Compute the instance loss of one bag as the authors' CLAM_SB and CLAM_MB do."""
    weights, total = clam.attention.weights(SetBatch.from_list([x])).values, torch.zeros((), dtype=x.dtype)
    for k in range(K):
        a = weights[:, k if weights.shape[1] > 1 else 0]
        top = clam.cluster(x[a.topk(samples).indices]).unflatten(1, (K, 2))[:, k]
        bottom = clam.cluster(x[(-a).topk(samples).indices]).unflatten(1, (K, 2))[:, k]
        if k == label:
            targets = torch.tensor([1] * samples + [0] * samples)
            total = total + cross_entropy(torch.cat([top, bottom]), targets)
        elif subtyping:
            total = total + cross_entropy(top, torch.zeros(samples, dtype=torch.int64))
    return total / K if subtyping else total


BRANCHES = pytest.mark.parametrize("multi_branch", [False, True], ids=["single", "multi"])


@BRANCHES
def test_logits_are_those_of_each_branch(multi_branch):
    clam, sets = build(multi_branch), random_sets(4, 1, 6)
    expected = []
    for x in sets:
        weights = clam.attention.weights(SetBatch.from_list([x])).values
        pooled = [weights[:, k if multi_branch else 0] @ x for k in range(K)]
        expected.append(torch.stack([clam.bag.weight[k] @ z + clam.bag.bias[k] for k, z in enumerate(pooled)]))
    torch.testing.assert_close(clam(SetBatch.from_list(sets)), torch.stack(expected), rtol=1e-12, atol=1e-12)


@BRANCHES
@pytest.mark.parametrize("subtyping", [False, True])
def test_the_loss_is_the_authors_for_each_bag(multi_branch, subtyping):
    clam, sets, labels = build(multi_branch), random_sets(4, 9, 6), torch.tensor([2, 0, 1])
    found = clam.outputs(SetBatch.from_list(sets), CLAM.known)
    ours = CLAMLoss(bag_weight=0.7, samples=2, subtyping=subtyping)(found["output"], labels, found)
    instance = [authors_loss(clam, x, y, 2, subtyping) for x, y in zip(sets, labels.tolist(), strict=True)]
    expected = 0.7 * cross_entropy(found["output"], labels) + 0.3 * torch.stack(instance).mean()
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    gradients = (torch.autograd.grad(x, [*clam.parameters()], retain_graph=True) for x in (ours, expected))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_small_sets_take_fewer_instances_and_sets_of_one_none():
    clam, sets, labels = build(False), random_sets(5, 1), torch.tensor([2, 0])
    found = clam.outputs(SetBatch.from_list(sets), CLAM.known)
    loss = CLAMLoss(samples=8).instance_loss(labels, found)
    torch.testing.assert_close(loss, authors_loss(clam, sets[0], 2, 2, True) / 2)


def test_a_batch_has_the_mean_loss_of_its_sets_in_any_order():
    clam, sets, labels = build(True), random_sets(5, 1, 30), torch.tensor([2, 0, 1])

    def loss(sets: list[Tensor], labels: Tensor) -> Tensor:
        return CLAMLoss(samples=3).instance_loss(labels, clam.outputs(SetBatch.from_list(sets), CLAM.known))

    alone = [loss([x], label[None]) for x, label in zip(sets, labels, strict=True)]
    torch.testing.assert_close(loss(sets, labels), torch.stack(alone).mean())
    torch.testing.assert_close(loss([x.flip(0) for x in sets], labels), loss(sets, labels))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"bag_weight=1\.5: choose 0 to 1"):
        CLAMLoss(bag_weight=1.5)
    with pytest.raises(ValueError, match="samples=0: choose >= 1"):
        CLAMLoss(samples=0)
    with pytest.raises(ValueError, match=r"reads weights, which .*\+model.network.returns=\[weights\]"):
        CLAMLoss()(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), {})
    with pytest.raises(ValueError, match="one label for each set"):
        CLAMLoss()(torch.zeros(1, 2), torch.zeros(1, 2), {})
