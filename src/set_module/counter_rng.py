"""Random numbers without state: a pure function of (seed, epoch, index, draw).

Patches and augmentation use them, so that neither the batch size, the number of workers or ranks, nor a resume in the
middle of an epoch can change an image.
"""

import torch
from torch import Tensor

FIXED = -1  # the "epoch" of validation, test and prediction, which must not change from epoch to epoch


def random_int(high: Tensor | int, seed: int, epoch: int, index: Tensor, draw: Tensor | int = 0) -> Tensor:
    """Return uniform integers in [0, high), int64, of the shape that high, index and draw broadcast to.

    A counter-based generator (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") with the finaliser of
    SplitMix64 (Steele et al. 2014) as its mixing function; 32 random bits are scaled by a multiplication, so high must
    be below 2**31.
    """
    return (_shift_right(_bits(seed, epoch, index, draw), 32) * high) >> 32


def random_large_int(high: Tensor, seed: int, epoch: int, index: Tensor, draw: Tensor | int = 0) -> Tensor:
    """Return what random_int does where high is below 2**31, and uniform integers in [0, high) up to 2**46."""
    bits = _bits(seed, epoch, index, draw)
    found = (_shift_right(bits, 32) * high) >> 32
    if bool((high < 2**31).all()):
        return found
    large = torch.zeros_like(found)  # floor(the upper 48 bits * high / 2**48), 16 bits at a time
    for shift in (16, 32, 48):
        large = (_shift_right(bits, shift).bitwise_and_(0xFFFF) * high + large) >> 16
    return torch.where(high < 2**31, found, large)


def _bits(seed: int, epoch: int, index: Tensor, draw: Tensor | int) -> Tensor:
    """Return 64 random bits."""
    key = _signed(_mix_int(_mix_int(seed) + epoch))
    # -7046029254386353131 is 2**64 / golden ratio, as a signed 64-bit number; products wrap around
    draw_key = draw * -3335678366873096957 if isinstance(draw, Tensor) else _signed(draw * -3335678366873096957)
    bits = index.long() * -7046029254386353131 + draw_key + key
    bits = bits.bitwise_xor_(_shift_right(bits, 30)).mul_(-4658895280553007687)
    return bits.bitwise_xor_(_shift_right(bits, 27)).mul_(-7723592293110705685)


def _shift_right(x: Tensor, n: int) -> Tensor:
    return (x >> n).bitwise_and_((1 << (64 - n)) - 1)  # torch shifts int64 arithmetically: clear the copies of the sign


def _mix_int(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return x ^ (x >> 31)


def _signed(x: int) -> int:
    """Wrap around to a signed 64-bit integer."""
    x &= 0xFFFFFFFFFFFFFFFF
    return x - (1 << 64) if x >= 1 << 63 else x
