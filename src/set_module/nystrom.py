"""Attention of the elements of a set to each other through the means of some segments of it, for very large sets."""

# n elements of one set, m landmarks, H heads, E features of a head

import torch
from torch import Tensor
from torch.nn import functional as F

ITERATIONS = 6  # of the pseudo-inverse, as in the authors' code


def nystrom_attention(
    q_HnE: Tensor, k_HnE: Tensor, v_HnE: Tensor, landmarks: int, queries: int | None = None
) -> Tensor:
    """Return softmax(Q K_m^T) pinv(softmax(Q_m K_m^T)) softmax(Q_m K^T) V of one set, scores over sqrt(E).

    Q_m and K_m are the means of Q and K over m segments of the set, in its order, that differ by one element at most.
    Xiong et al. 2021, "Nystroemformer", arXiv:2102.03902, eq. 13 and 14: time linear in n. A set of m elements or fewer
    takes exact attention. Unlike the authors' code, no padding takes part. [H, n, E] each -> [H, n, E], or that of the
    first `queries` elements alone.
    """
    asked_HqE, length = q_HnE[:, :queries], q_HnE.shape[1]
    if length <= landmarks:
        return F.scaled_dot_product_attention(asked_HqE, k_HnE, v_HnE)
    segment_n = torch.arange(length, device=q_HnE.device) * landmarks // length
    q_HmE, k_HmE = (_means(each_HnE, segment_n, landmarks) for each_HnE in (q_HnE, k_HnE))
    of_landmarks = (q_HmE @ k_HmE.transpose(1, 2) / q_HnE.shape[2] ** 0.5).softmax(2)
    # from the right: no product of [n, m] and [m, m]
    values_HmE = pseudo_inverse(of_landmarks) @ F.scaled_dot_product_attention(q_HmE, k_HnE, v_HnE)
    return F.scaled_dot_product_attention(asked_HqE, k_HmE, values_HmE)


def _means(x_HnE: Tensor, segment_n: Tensor, landmarks: int) -> Tensor:
    sum_HmE = x_HnE.new_zeros(x_HnE.shape[0], landmarks, x_HnE.shape[2]).index_add(1, segment_n, x_HnE)
    return sum_HmE / segment_n.bincount(minlength=landmarks)[:, None]


def pseudo_inverse(x_Hmm: Tensor) -> Tensor:
    """Return the Moore-Penrose inverse of matrices with rows that sum to 1, by iterations of third order.

    Razavi et al. 2014, as in arXiv:2102.03902, eq. 11: Z <- Z / 4 (13 I - X Z (15 I - X Z (7 I - X Z))).
    """
    identity = torch.eye(x_Hmm.shape[-1], dtype=x_Hmm.dtype, device=x_Hmm.device)
    absolute = x_Hmm.abs()
    z_Hmm = x_Hmm.transpose(-1, -2) / (absolute.sum(-1).max() * absolute.sum(-2).max())
    for _ in range(ITERATIONS):
        xz_Hmm = x_Hmm @ z_Hmm
        z_Hmm = z_Hmm @ (13 * identity - xz_Hmm @ (15 * identity - xz_Hmm @ (7 * identity - xz_Hmm))) / 4
    return z_Hmm
