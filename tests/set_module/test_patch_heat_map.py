import torch

from set_module.patch_heat_map import heat_map
from set_module.set_batch import SetBatch


def test_a_pixel_is_the_mean_over_the_patches_that_cover_it():
    corners = SetBatch.from_list([torch.tensor([[0, 0], [1, 2], [1, 2]]), torch.tensor([[3, 4]])])
    scores = corners.with_values(torch.randn(4, 5, dtype=torch.float64))
    ours = heat_map(scores, corners, patch_size=2, image_size=(5, 6))
    assert ours.shape == (2, 5, 5, 6)
    for image, (places, values) in enumerate(zip(corners, scores, strict=True)):
        for y in range(5):
            for x in range(6):
                covers = ((places <= torch.tensor([y, x])) & (torch.tensor([y, x]) < places + 2)).all(1)
                if covers.any():
                    torch.testing.assert_close(ours[image, :, y, x], values[covers].mean(0))
                else:
                    assert ours[image, :, y, x].isnan().all()
