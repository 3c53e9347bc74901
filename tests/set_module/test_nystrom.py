import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from set_module.nystrom import nystrom_attention, pseudo_inverse

H, E = 2, 3


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("length", [8, 9, 11])
def test_equals_the_product_of_the_three_softmaxes(length):
    q, k, v = random(3, H, length, E)
    segments = [[i for i in range(length) if i * 4 // length == m] for m in range(4)]
    q_m, k_m = (torch.stack([x[:, each].mean(1) for each in segments], dim=1) for x in (q, k))
    first, middle, last = ((a @ b.transpose(1, 2) / E**0.5).softmax(2) for a, b in ((q, k_m), (q_m, k_m), (q_m, k)))
    expected = first @ pseudo_inverse(middle) @ last @ v
    torch.testing.assert_close(nystrom_attention(q, k, v, landmarks=4), expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(nystrom_attention(q, k, v, landmarks=4, queries=2), expected[:, :2])


def test_a_set_without_more_elements_than_landmarks_takes_exact_attention():
    q, k, v = random(3, H, 5, E)
    torch.testing.assert_close(nystrom_attention(q, k, v, landmarks=5), scaled_dot_product_attention(q, k, v))


def test_the_iterations_invert_a_matrix_of_weights():
    weights = (4 * torch.eye(5, dtype=torch.float64) + random(H, 5, 5)).softmax(2)
    torch.testing.assert_close(pseudo_inverse(weights), torch.linalg.inv(weights), rtol=1e-2, atol=1e-2)
