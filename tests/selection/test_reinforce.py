"""The policy gradient: unbiased, with the return and the baseline of its formula, and learned places at the end."""

from itertools import product

import torch
from torch.nn.functional import cross_entropy, one_hot

from selection.glimpse import Glimpses
from selection.reinforce import Reinforce
from set_module.set_batch import SetBatch

IMAGES = torch.randint(256, (6, 2, 7, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
INDEX, TARGETS = torch.tensor([3, 14, 15, 92, 65, 35]), torch.tensor([0, 1, 2, 2, 1, 0])
FACTS = {"channels": 2, "mean": [0.5], "std": [0.25]}


def reinforce(count=(1, 5), seed=0, **settings) -> Reinforce:
    torch.manual_seed(0)
    sizes = {"size": 4, "image_size": [7, 9], "num_outputs": 3, "width": 16}
    selection = Reinforce(**sizes | {"count": count, "seed": seed} | FACTS | settings).double()
    with torch.no_grad():
        selection.policy[-1].weight.mul_(20)  # else all images have nearly the same scores
    return selection


def test_the_gradient_of_the_scores_is_that_of_the_formula():
    selection = reinforce(weight=0.7)
    gradient, baseline_gradient = torch.zeros(24).double(), torch.zeros(1).double()
    looks = list(selection.looks(IMAGES, INDEX))
    for image in range(6):
        rewards = [float(selection.reader(look.features)[image].argmax() == TARGETS[image]) for look in looks]
        for k, look in enumerate(looks):
            advantage = sum(rewards[k:]) / 5 - selection.baseline(look.before)[image]
            gradient -= 0.7 * (look.choice[image] - look.scores[image].softmax(0)) * advantage / 6
            baseline_gradient -= 2 * advantage / 6
    selection.training_loss(IMAGES, TARGETS, INDEX, cross_entropy)[0].backward()
    torch.testing.assert_close(selection.policy[-1].bias.grad, gradient.detach())
    torch.testing.assert_close(selection.baseline.bias.grad, baseline_gradient.detach())


def test_the_expected_gradient_is_that_of_the_expected_reward(monkeypatch):
    """All 16 pairs of 4 places, each with its probability; the baseline changes nothing."""
    image, label = IMAGES[:1, :, :5, :5], TARGETS[:1]
    selection = reinforce(count=2, image_size=[5, 5])
    for name, weight in selection.named_parameters():
        weight.requires_grad_(name.startswith("policy"))
    parameters = [weight for weight in selection.parameters() if weight.requires_grad]
    with torch.no_grad():  # answers that differ from place to place
        first = [look.features for i in range(20) for look in selection.looks(image, torch.tensor([i]))]
        selection.reader.weight.normal_()
        selection.reader.bias.copy_(-selection.reader(torch.cat(first)).mean(0))
    expected_reward, expected_score = torch.zeros(()).double(), [torch.zeros_like(weight) for weight in parameters]
    for pair in product(range(4), repeat=2):
        monkeypatch.setattr(selection, "noise", lambda _, k, pair=pair: 1e9 * one_hot(torch.tensor([pair[k]]), 4))
        looks = list(selection.looks(image, torch.zeros(1).long()))
        probability = torch.stack([look.scores.softmax(1)[0, place] for look, place in zip(looks, pair, strict=True)])
        rewards = [(selection.reader(look.features).argmax(1) == label).double()[0] for look in looks]
        expected_reward = expected_reward + probability.prod() * sum(rewards) / 2

        def no_loss(outputs, targets):
            return outputs.sum() * 0

        score, _ = selection.training_loss(image, label, torch.zeros(1).long(), no_loss)
        found = torch.autograd.grad(score, parameters)
        for total, gradient in zip(expected_score, found, strict=True):
            total += probability.prod().detach() * gradient
    exact = torch.autograd.grad(expected_reward, parameters)
    assert max(gradient.abs().max() for gradient in exact) > 1e-3
    for found, gradient in zip(expected_score, exact, strict=True):
        torch.testing.assert_close(found, -gradient)


def test_places_are_drawn_from_the_softmax_of_the_scores():
    selection = reinforce(count=1)
    images, index = IMAGES[:1].expand(20000, -1, -1, -1), torch.arange(20000)
    with torch.no_grad():
        (look,) = selection.looks(images, index)
    share = look.choice.mean(0)
    assert set(look.choice.unique().tolist()) == {0.0, 1.0}
    assert (share - look.scores[0].softmax(0)).abs().max() < 4 * 0.5 / 20000**0.5  # standard deviations


def test_evaluation_chooses_as_glimpses_do_and_training_depends_on_image_and_epoch_alone():
    selection, plain = reinforce(), Glimpses(4, (1, 5), 0, [7, 9], width=16, **FACTS).double()
    plain.load_state_dict({name: value for name, value in selection.state_dict().items() if name in plain.state_dict()})
    assert torch.equal(selection.eval().positions(IMAGES, INDEX).values, plain.eval().positions(IMAGES, INDEX).values)
    together, order = selection.train().positions(IMAGES, INDEX), torch.tensor([4, 0, 5, 2, 1, 3])
    for i, corners in zip(order, selection.positions(IMAGES[order], INDEX[order]), strict=True):
        assert torch.equal(corners, together[int(i)])
    selection.set_epoch(1)
    assert not torch.equal(selection.positions(IMAGES, INDEX).values, together.values)


def test_no_gradient_passes_through_a_choice():
    corners = reinforce().positions(IMAGES, INDEX)
    assert isinstance(corners, SetBatch)
    assert not getattr(corners, "choice", corners.values).requires_grad


def test_the_place_that_shows_the_class_is_learned():
    labels = torch.arange(64) % 3
    images = torch.randint(100, (64, 2, 7, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    images[:, :, 5, 7] = (labels * 120).to(torch.uint8)[:, None]
    selection = reinforce(count=1, width=32, mean=[0.3]).float()
    optimizer = torch.optim.Adam(selection.parameters(), lr=0.01)
    for step in range(150):
        selection.set_epoch(step)
        optimizer.zero_grad()
        selection.training_loss(images, labels, torch.arange(64), cross_entropy)[0].backward()
        optimizer.step()
    row, column = selection.eval().positions(images[:1], torch.arange(1)).values[0].tolist()
    assert row <= 5 < row + 4
    assert column <= 7 < column + 4
