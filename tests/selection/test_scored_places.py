"""The order of choice: the best first, none twice, near ones last."""

import pytest
import torch
from small_images import InMemory

from selection.scored_places import ScoredPlaces, in_order
from set_module.lazy_images import LazyImages, PlacedCorners

IMAGES = torch.randint(256, (3, 1, 20, 26), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def scored(count=4, stride=3, apart=0, **settings) -> ScoredPlaces:
    return ScoredPlaces(5, count, 0, settings.get("test_count"), stride, apart, "scored")


def by_hand(scores, corners, number, apart):
    """Choose place after place."""
    order, left = [], set(range(len(scores)))
    while len(order) < number:
        far = [
            place
            for place in left
            if all(max((corners[place] - corners[other]).abs().tolist()) >= apart for other in order)
        ]
        order.append(max(far or left, key=lambda place: scores[place]))
        left.discard(order[-1])
    return order


@pytest.mark.parametrize("apart", [0, 1, 4, 7])
def test_each_place_is_the_best_that_is_left_and_not_near(apart):
    selection = scored(apart=apart)
    candidates = selection.candidates(IMAGES)
    corners_BP2 = candidates.pad()[0]
    scores_BP = torch.randn(3, corners_BP2.shape[1], generator=torch.Generator().manual_seed(1))
    corners, order_BM, step_BP = selection.best(IMAGES, candidates, scores_BP, torch.arange(3))
    for b in range(3):
        expected = by_hand(scores_BP[b].tolist(), corners_BP2[b], 4, apart)
        assert order_BM[b].tolist() == expected
        assert torch.equal(corners[b], corners_BP2[b][expected])
        for place, corner in enumerate(corners_BP2[b]):
            near = [
                k for k, other in enumerate(expected)
                if place == other or int((corner - corners_BP2[b, other]).abs().max()) < apart
            ]  # fmt: skip
            assert step_BP[b, place] == min(near, default=4)


def test_a_set_begins_with_the_smaller_set_also_where_scores_are_equal():
    corners_BP2 = scored().candidates(IMAGES).pad()[0]
    scores_BP = torch.randint(3, corners_BP2.shape[:2], generator=torch.Generator().manual_seed(1)).float()
    for apart in (0, 4):
        many = in_order(scores_BP, corners_BP2, 12, apart)[0]
        assert all(len(set(row.tolist())) == 12 for row in many)
        for number in (1, 5, 11):
            assert torch.equal(in_order(scores_BP, corners_BP2, number, apart)[0], many[:, :number])


def test_when_all_places_are_near_the_best_of_them_are_taken():
    corners_BP2 = scored().candidates(IMAGES).pad()[0]
    scores_BP = torch.randn(corners_BP2.shape[:2], generator=torch.Generator().manual_seed(1))
    order_BM, step_BP = in_order(scores_BP, corners_BP2, 3, apart=100)
    assert torch.equal(order_BM, scores_BP.argsort(dim=1, descending=True)[:, :3])
    assert (step_BP == 0).all()


def test_images_of_different_sizes_have_places_of_their_own():
    images = LazyImages(InMemory([IMAGES[0], IMAGES[1, :, :9, :8]]), [0, 1])
    selection = scored()
    candidates = selection.candidates(images)
    number_N = torch.arange(len(candidates.values))
    scores_BP = candidates.with_values(number_N.float()).pad(-torch.inf)[0]
    corners, _, _ = selection.best(images, candidates, scores_BP, torch.arange(2))
    assert isinstance(corners, PlacedCorners)
    for found, every in zip(corners, candidates, strict=True):
        assert torch.equal(found, every[-4:].flip(0))
    assert candidates[1].amax(0).tolist() == [4, 3]
    together = [corner for part in selection.parts(images, candidates, 7) for corner in part.values.tolist()]
    assert together == candidates.values.tolist()


def test_what_cannot_be_chosen_is_refused():
    with pytest.raises(ValueError, match="patch_num=49 exceeds the 48 places of the grid: choose <= 48"):
        scored(count=49).candidates(IMAGES)
    with pytest.raises(ValueError, match="apart=-1: choose a number of pixels"):
        scored(apart=-1)
