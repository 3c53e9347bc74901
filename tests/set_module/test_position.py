import math

import pytest
import torch

from set_module.position import LearnedPosition, PatchUnitPosition, SinusoidalPosition

CORNERS = torch.tensor([[0, 0], [5, 3], [5, 0], [2, 7]])


def test_sinusoidal_is_its_formula():
    out = SinusoidalPosition(12, (6, 8))(CORNERS)
    assert out.shape == (4, 12)
    for (y, x), row in zip(CORNERS.tolist(), out, strict=True):
        expected = []
        for u, steps in ((y / 5, 5), (x / 7, 7)):
            angles = [math.pi * (steps / 2) ** (k / 2) * u for k in range(3)]
            expected += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
        torch.testing.assert_close(row, torch.tensor(expected), rtol=1e-5, atol=1e-5)


def test_sinusoidal_tells_every_two_places_apart():
    places = torch.cartesian_prod(torch.arange(14), torch.arange(18))
    distance = torch.cdist(*2 * (SinusoidalPosition(64, (14, 18))(places),))
    assert distance.fill_diagonal_(9).min() > 0.1


def test_sinusoidal_of_a_single_place_is_finite():
    assert SinusoidalPosition(8, (1, 1))(torch.zeros(2, 2, dtype=torch.int64)).isfinite().all()


def test_sinusoidal_needs_a_multiple_of_four():
    with pytest.raises(ValueError, match="10 features"):
        SinusoidalPosition(10, (6, 8))


def test_learned_adds_a_row_and_a_column_and_trains_both():
    position = LearnedPosition(5, (6, 8))
    out = position(CORNERS)
    torch.testing.assert_close(out[3], position.row.weight[2] + position.column.weight[7])
    out.sum().backward()
    assert position.row.weight.grad[[0, 2, 5]].sum() == 4 * 5
    assert position.column.weight.grad[[0, 3, 7]].sum() == 4 * 5


def test_sinusoidal_of_any_size_takes_relative_positions_and_tells_256_apart():
    position = SinusoidalPosition(64)
    assert position.relative
    u = torch.linspace(0, 1, 256)
    out = position(torch.stack([u, u.flip(0)], dim=1))
    assert torch.cdist(out, out).fill_diagonal_(9).min() > 0.1
    fixed = SinusoidalPosition(64, (256, 256))(torch.stack([torch.arange(256), 255 - torch.arange(256)], dim=1))
    torch.testing.assert_close(out, fixed, rtol=1e-4, atol=1e-4)


def test_patch_units_depend_on_the_distance_in_patches_alone():
    small, large = (PatchUnitPosition(16, patch_size) for patch_size in (5, 50))
    assert not getattr(small, "relative", False)
    torch.testing.assert_close(small(CORNERS), large(CORNERS * 10))
    one_patch = small(torch.tensor([[5, 0]]))[0]
    assert one_patch[3] == pytest.approx(1)  # a quarter of the shortest period
    assert one_patch[0] == pytest.approx(math.pi / 2 / 1024)
    with pytest.raises(ValueError, match="10 features"):
        PatchUnitPosition(10, 5)


def test_a_learned_position_needs_images_of_one_size():
    with pytest.raises(ValueError, match="model/position=sinusoidal"):
        LearnedPosition(8, [])
