import io

import numpy as np
import pytest
import torch
from PIL import Image

from datamodule.decode import decode


def encode(image, **settings):
    stream = io.BytesIO()
    image.save(stream, **settings)
    return stream.getvalue()


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["png", "bmp", "ppm", "tiff"])
def test_lossless_types(pixels, kind):
    decoded = decode(encode(Image.fromarray(pixels), format=kind), 3, (4, 6))
    assert torch.equal(decoded, torch.from_numpy(pixels).permute(2, 0, 1))
    assert decoded.is_contiguous()


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_lossy_types(kind):
    image = Image.new("RGB", (8, 8), (200, 100, 50))
    decoded = decode(encode(image, format=kind), 3, (8, 8)).int()
    assert (decoded - torch.tensor([200, 100, 50])[:, None, None]).abs().max() <= 4


def test_grey_and_rgb(pixels):
    grey = np.array(Image.fromarray(pixels).convert("L"))
    assert torch.equal(decode(encode(Image.fromarray(pixels), format="png"), 1, (4, 6))[0], torch.from_numpy(grey))
    assert torch.equal(
        decode(encode(Image.fromarray(grey), format="png"), 3, (4, 6)), torch.from_numpy(grey).expand(3, 4, 6)
    )


def test_sixteen_bits_are_scaled_not_clipped():
    levels = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    assert decode(encode(Image.fromarray(levels), format="png"), 1, (1, 4)).flatten().tolist() == [
        0,
        1,
        128,
        255,
    ]


def test_palette(pixels):
    image = Image.fromarray(pixels).quantize(24)
    expected = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    assert torch.equal(decode(encode(image, format="png"), 3, (4, 6)), expected)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_shows_white(mode):
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    data = encode(image.convert(mode), format="png")
    assert decode(data, 1, (1, 2)).flatten().tolist() == [255, 0]


def test_bits():
    assert decode(encode(Image.new("1", (2, 1), 1), format="png"), 1, (1, 2)).flatten().tolist() == [255, 255]


def test_resizing_averages():
    stripes = np.tile(np.array([[0, 200]], dtype=np.uint8), (8, 16))
    decoded = decode(encode(Image.fromarray(stripes), format="png"), 1, (2, 4))
    assert decoded.shape == (1, 2, 4)
    assert (decoded.int() - 100).abs().max() <= 15  # without antialiasing: 0 or 200


def test_refuses_floating_point():
    with pytest.raises(ValueError, match="convert it to 8 or 16 bits"):
        decode(encode(Image.fromarray(np.zeros((2, 2), dtype=np.float32)), format="tiff"), 1, (2, 2))
