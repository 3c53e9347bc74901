import io
import os
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodule import decode as decode_module
from datamodule.class_folders import FORMATS
from datamodule.decode import LevelsError, TooManyPixelsError, decode

UPRIGHT = {  # from the stored pixels, by the EXIF orientation, as the standard defines it
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),  # clockwise
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored),
}


def encode(image, **settings):
    stream = io.BytesIO()
    image.save(stream, **settings)
    return stream.getvalue()


def png(width, depth, colour_type, row, transparent=None):
    """Return a PNG of one row, of any bit depth, perhaps with a transparent level or colour."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, depth, colour_type, 0, 0, 0))
    end = chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
    chosen = b"" if transparent is None else chunk(b"tRNS", transparent)
    return b"\x89PNG\r\n\x1a\n" + header + chosen + end


def tiff(bits, sample_format, row, width=2, white_is_zero=False):
    """Return a grey TIFF of one row; sample_format: 1 unsigned, 2 signed, 3 floating point."""
    sizes = {256: width, 257: 1, 273: 134, 278: 1, 279: len(row)}  # 273: where the row begins
    short = {258: bits, 259: 1, 262: int(not white_is_zero), 277: 1, 339: sample_format}
    tags = [
        struct.pack("<HHII", tag, 4, 1, sizes[tag]) if tag in sizes else struct.pack("<HHIHH", tag, 3, 1, short[tag], 0)
        for tag in sorted(sizes | short)
    ]
    return b"II" + struct.pack("<HIH", 42, 8, len(tags)) + b"".join(tags) + bytes(4) + row


def levels(data, white=None):
    size = Image.open(io.BytesIO(data)).size
    return decode(data, 1, size[::-1], white).flatten().tolist()


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


@pytest.mark.parametrize("value", UPRIGHT)
@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "webp"])
def test_turned_upright_by_exif(kind, value):
    stored = np.random.default_rng(value).integers(0, 256, (2, 3, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    exif = Image.Exif()
    exif[0x0112] = value
    settings = {"jpeg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(kind, {})
    data = encode(Image.fromarray(stored), format=kind, exif=exif, **settings)
    expected = torch.from_numpy(UPRIGHT[value](stored).copy()).permute(2, 0, 1)
    decoded = decode(data, 3, tuple(expected.shape[1:]))
    assert (decoded.int() - expected.int()).abs().max() <= (3 if kind == "jpeg" else 0)
    stretched = decode(data, 3, (12, 8))  # the size is that of the upright image
    upright = Image.fromarray(expected.permute(1, 2, 0).numpy()).resize((8, 12), Image.Resampling.BILINEAR)
    assert (stretched.permute(1, 2, 0).int() - torch.from_numpy(np.array(upright)).int()).abs().max() <= 3


def test_levels_of_16_bits_are_turned_too():
    exif = Image.Exif()
    exif[0x0112] = 8
    stored = np.array([[0, 20000, 65535]], dtype=np.uint16)
    assert decode(encode(Image.fromarray(stored), format="png", exif=exif), 1, (3, 1)).flatten().tolist() == [
        255,
        78,
        0,
    ]


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0nonsense", b"Exif\0\0"])
def test_damaged_exif_leaves_the_image_as_it_is_stored(exif):
    data = encode(Image.new("RGB", (6, 4), (200, 100, 50)), format="png", exif=exif)
    assert decode(data, 3, (4, 6))[:, 0, 0].tolist() == [200, 100, 50]


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("CMYK", "tiff"),
        ("CMYK", "jpeg"),  # stored inverted, as Adobe does
        ("YCbCr", "tiff"),
        ("YCbCr", "jpeg"),
        ("LAB", "tiff"),
        ("RGBX", "tiff"),
        ("RGBA", "tiff"),
        ("RGBA", "jpeg2000"),
    ],
)
def test_colour_spaces(mode, kind):
    image = Image.new("RGB", (8, 8), (200, 100, 50)).convert(mode)
    data = encode(image, format=kind)
    for channels, expected in ((3, [200, 100, 50]), (1, [124])):
        decoded = decode(data, channels, (8, 8))[:, 4, 4].int()
        assert (decoded - torch.tensor(expected)).abs().max() <= 3


@pytest.mark.parametrize(("mode", "kind"), [("LA", "tiff"), ("LA", "png"), ("PA", "tiff"), ("RGBA", "gif")])
def test_transparency_of_other_types_shows_white(mode, kind):
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    assert levels(encode(image.convert(mode), format=kind)) == [255, 0]


@pytest.mark.parametrize(
    ("depth", "row", "transparent", "expected"),
    [
        (1, bytes([0b01 << 6]), 0, [255, 255]),
        (2, bytes([0b0001 << 4]), 1, [0, 255]),
        (4, bytes([0x1E]), 1, [255, 238]),
        (8, bytes([85, 3]), 3, [85, 255]),
        (16, struct.pack(">2H", 257 * 9, 65535), 65535, None),  # without the transparent one: perhaps 12 bits
        (16, struct.pack(">2H", 257, 65535), 257, [255, 255]),
        (16, struct.pack(">2H", 257 * 90, 257 * 91), 257 * 91, [90, 255]),
    ],
)
def test_a_transparent_level_shows_white(depth, row, transparent, expected):
    data = png(2, depth, 0, row, struct.pack(">H", transparent))
    if expected is None:
        with pytest.raises(LevelsError, match="no level above 2313"):
            levels(data)
    else:
        assert levels(data) == expected


def test_a_transparent_colour_shows_white_or_is_refused():
    colours = bytes([0, 0, 0, 9, 9, 9])
    assert decode(png(2, 8, 2, colours, struct.pack(">3H", 0, 0, 0)), 3, (1, 2))[0].flatten().tolist() == [255, 9]
    wide = np.frombuffer(colours, np.uint8).astype(">u2") * 257
    with pytest.raises(LevelsError, match=r"colours of 16 bits .* a transparent colour: convert it to 8 bits"):
        decode(png(2, 16, 2, wide.tobytes(), struct.pack(">3H", 0, 0, 0)), 3, (1, 2))


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_twelve_bits_in_sixteen_are_read_by_the_setting_only(kind):
    data = encode(Image.fromarray(np.array([[0, 1000, 4095]], dtype=np.uint16)), format=kind)
    with pytest.raises(LevelsError, match=r"no level above 4095: set data.white=4095 if .*, or data.white=65535 if"):
        levels(data)
    assert levels(data, 4095) == [0, 62, 255]
    assert levels(data, 65535) == [0, 4, 16]
    with pytest.raises(LevelsError, match=r"from 0 to 4095, outside of 0 to 1023 \(data.white\)"):
        levels(data, 1023)
    black = encode(Image.fromarray(np.zeros((1, 2), dtype=np.uint16)), format=kind)
    assert levels(black) == [0, 0]


@pytest.mark.parametrize("text", [b"P2 3 1 4095 0 1000 4095 ", b"P5 3 1 4095\n" + struct.pack(">3H", 0, 1000, 4095)])
def test_a_stated_maximum_is_white(text):
    assert levels(text) == levels(text, 65535) == [0, 62, 255]
    assert levels(tiff(12, 1, bytes([0xFF, 0xF3, 0xE8]))) == [255, 62]


@pytest.mark.parametrize(
    "data", [b"P2 3 1 65535 0 1000 4095 ", b"P5 3 1 65535\n" + struct.pack(">3H", 0, 1000, 4095)], ids=["P2", "P5"]
)
def test_a_stated_maximum_of_16_bits_may_hold_twelve(data):
    with pytest.raises(LevelsError, match=r"no level above 4095: set data.white=4095 if .*, or data.white=65535 if"):
        levels(data)
    assert levels(data, 4095) == [0, 62, 255]
    assert levels(data, 65535) == [0, 4, 16]
    brighter = data.replace(b"4095", b"4096") if data.startswith(b"P2") else data[:-2] + struct.pack(">H", 4096)
    assert levels(brighter) == [0, 4, 16]


@pytest.mark.parametrize(
    ("magic", "level"),
    [
        (b"P3 1 1 65535 ", lambda value: b"%d %d 0 " % (value, value)),
        (b"P6 1 1 65535\n", lambda value: struct.pack(">3H", value, value, 0)),
    ],
    ids=["P3", "P6"],
)
def test_colours_of_a_stated_maximum_of_16_bits_may_hold_twelve(magic, level):
    with pytest.raises(LevelsError, match=r"colours of 16 bits, none above level 16 of 255: convert it to 8 bits"):
        decode(magic + level(4095), 3, (1, 1))
    assert decode(magic + level(4095), 3, (1, 1), 65535).flatten().tolist() == [16, 16, 0]
    assert decode(magic + level(65535), 3, (1, 1)).flatten().tolist() == [255, 255, 0]
    stated = magic.replace(b"65535", b"4095") + level(4095)
    assert decode(stated, 3, (1, 1)).flatten().tolist() == [255, 255, 0]


@pytest.mark.parametrize(
    ("data", "white", "expected"),
    [
        (tiff(32, 1, struct.pack("<2I", 100, 255)), 255, [100, 255]),
        (tiff(32, 2, struct.pack("<2i", 50000, 100000)), 100000, [128, 255]),
        (tiff(16, 2, struct.pack("<2h", 8, 32767)), 32767, [0, 255]),
        (tiff(32, 3, struct.pack("<2f", 0.2, 1.0)), 1, [51, 255]),
        (tiff(32, 3, struct.pack("<2f", 0.2, 1.0), white_is_zero=True), 1, [204, 0]),
        (b"Pf 2 1 -1\n" + struct.pack("<2f", 0.2, 1.0), 1, [51, 255]),
    ],
)
def test_levels_without_a_known_white_are_read_by_the_setting_only(data, white, expected):
    with pytest.raises(LevelsError, match=r"levels from .* to .*: convert it to 8 bits, or set data.white"):
        levels(data)
    assert levels(data, white) == expected


@pytest.mark.parametrize(
    "data",
    [
        tiff(32, 1, struct.pack("<2I", 0, 2**31)),  # negative in Pillow
        tiff(16, 2, struct.pack("<2h", -1, 100)),
        tiff(32, 2, struct.pack("<2i", -(2**31), 0)),
        tiff(32, 3, struct.pack("<2f", float("nan"), 1)),
        tiff(32, 3, struct.pack("<2f", 0, float("inf"))),
        tiff(8, 2, struct.pack("<2b", -1, 100)),
    ],
)
def test_levels_outside_are_refused_not_wrapped(data):
    for white in (None, 100):
        with pytest.raises(LevelsError, match="convert it to 8 bits"):
            levels(data, white)


def test_refuses_signed_levels_that_pillow_reads_as_unsigned():
    cards = ["SIMPLE  = T", "BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 2", "NAXIS2  = 1", "END"]
    header = "".join(card.ljust(80) for card in cards).ljust(2880).encode()
    for white in (None, 65535):
        with pytest.raises(LevelsError, match="FITS of more than 8 bits: convert it to 8 bits in another format"):
            levels(header + struct.pack(">2h", -1, 5).ljust(2880, b"\0"), white)


def test_white_is_zero():
    assert levels(tiff(8, 1, bytes([0, 205]), white_is_zero=True)) == [255, 50]
    assert levels(tiff(16, 1, struct.pack("<2H", 0, 257 * 205), white_is_zero=True)) == [255, 50]


def test_colours_of_16_bits():
    def colours(levels, colour_type):
        return png(1, 16, colour_type, struct.pack(f">{len(levels)}H", *levels))

    bright, dark = (65535, 30000, 0), (4095, 1000, 0)
    for colour_type, alpha in ((2, ()), (6, (65535,))):
        bright_png, dark_png = (colours((*levels, *alpha), colour_type) for levels in (bright, dark))
        assert decode(bright_png, 3, (1, 1)).flatten().tolist() == [255, 117, 0]
        with pytest.raises(LevelsError, match=r"none above level 15 of 255: convert it .* data.white=65535"):
            decode(dark_png, 3, (1, 1))
        assert decode(dark_png, 3, (1, 1), 65535).flatten().tolist() == [15, 3, 0]
        with pytest.raises(LevelsError, match="convert it to 8 bits"):
            decode(bright_png, 3, (1, 1), 4095)


@pytest.mark.parametrize("kind", ["gif", "tiff", "png", "webp"])
def test_the_first_frame_is_read(kind):
    first, *others = (Image.new("RGB", (8, 8), (shade, shade, shade)) for shade in (200, 100, 0))
    data = encode(first, format=kind, save_all=True, append_images=others)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert abs(levels(data)[0] - 200) <= 2


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "tiff", "webp", "bmp", "ppm", "jpeg2000"])
def test_refuses_a_truncated_file(pixels, kind):
    data = encode(Image.fromarray(pixels).resize((64, 64)), format=kind)
    for share in (0.5, 0.95):
        with pytest.raises(OSError, match=r"(?i)truncated|broken|decoder"):
            decode(data[: int(len(data) * share)], 3, (64, 64))


def test_an_image_above_the_limit_is_refused_before_it_is_decoded():
    data = png(60_000, 1, 0, bytes(7500))
    assert decode(data, 1, (1, 4), max_megapixels=0.06).tolist() == [[[0] * 4]]
    for limit in (0.059999, 0.01):  # Pillow by itself warns up to twice its limit
        with pytest.raises(TooManyPixelsError) as caught:
            decode(data[:60], 1, (1, 4), max_megapixels=limit)  # all but the header is missing
        assert caught.value.pixels == 60_000


def test_pillow_itself_limits_no_scan():
    data = encode(Image.new("1", (20_000, 20_000)), format="png")  # 400 megapixels; Pillow's own limit is 179
    with pytest.raises(TooManyPixelsError):
        decode(data, 1, (2, 2), max_megapixels=399)


@pytest.mark.parametrize("kind", ["ico", "icns"])
def test_an_image_inside_of_an_icon_is_limited_too(kind):
    icon = encode(Image.new("RGBA", (32, 32)), format=kind)
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 100, 8, 6, 0, 0, 0)
    header += struct.pack(">I", zlib.crc32(header))
    data = re.sub(b"IHDR.{17}", lambda _: header, icon, flags=re.DOTALL)
    with pytest.raises(TooManyPixelsError) as caught:
        decode(data, 1, (2, 2), max_megapixels=2)
    assert caught.value.pixels == 6_000_000


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """Put a gs on PATH that leaves a file; return its path."""
    started = tmp_path / "started"
    for name in ("gs", "djpeg"):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\ntouch {started}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return started


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
IPTC = b"\x1c\x03\x3c\0\2\1\0" + b"\x1c\x03\x14\0\1\x0a" + b"\x1c\x03\x1e\0\1\x0a" + b"\x1c\x03\x78\0\1\5"
IPTC += b"\x1c\x08\x0a" + struct.pack(">H", len(EPS)) + EPS + b"\0" * 5


@pytest.mark.processes
@pytest.mark.parametrize("data", [EPS, IPTC], ids=["EPS", "EPS in IPTC"])
def test_no_image_starts_a_program(data, ghostscript):
    Image.init()
    with pytest.raises(OSError, match="cannot identify image file"):
        decode(data, 3, (4, 4))
    assert not ghostscript.exists()


def test_every_format_is_one_of_pillow():
    Image.init()
    with pytest.raises(OSError, match="cannot identify image file"):  # KeyError if one was unknown
        decode(b"nothing", 3, (4, 4))
    assert set(decode_module.READ) == FORMATS.keys() & set(Image.OPEN)


def sample(mode, transparent):
    """Return a PNG, TIFF or GIF of 24 x 18 random pixels."""
    rng = np.random.default_rng(0)
    if mode.startswith(("I", "F")):
        kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        image = Image.fromarray(rng.integers(0, 65536, (18, 24)).astype(kind))
        return encode(image, format="png" if mode == "I;16" else "tiff", **transparent)
    colours = Image.fromarray(rng.integers(0, 256, (18, 24, 4), dtype=np.uint8))
    image = colours.convert("RGB").quantize(40) if mode == "P" else colours.convert("RGB").convert(mode)
    if mode in ("RGBA", "LA"):
        image = colours.convert(mode)
    return encode(image, format="png" if mode in ("1", "L", "LA", "P", "RGB", "RGBA") else "tiff", **transparent)


@pytest.mark.long
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("mode", "transparent"),
    [
        *((mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F")),
        ("L", {"transparency": 9}),
        ("P", {"transparency": 3}),
        ("P", {"transparency": bytes(range(0, 240, 6))}),
        ("RGB", {"transparency": (0, 0, 0)}),
        ("I;16", {"transparency": 700}),
    ],
)
def test_blocks_make_no_difference(mode, transparent, channels, monkeypatch):
    data, white = sample(mode, transparent), 65535 if mode[0] in "IF" else None
    whole = decode(data, channels, (18, 24), white)
    for block in (1, 7, 24, 50):  # pixels; a row has 24
        monkeypatch.setattr(decode_module, "BLOCK", block)
        assert torch.equal(decode(data, channels, (18, 24), white), whole)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux to measure memory")
@pytest.mark.parametrize(
    ("mode", "transparent", "own"),
    [
        ("I;16", {}, 2),
        ("F", {}, 4),
        ("P", {"transparency": bytes(range(0, 240, 6))}, 1),
        ("L", {}, 1),
        ("RGBA", {}, 4),
        ("CMYK", {}, 4),
    ],
)
def test_memory_is_at_most_four_bytes_a_pixel_over_the_mode(mode, transparent, own, monkeypatch):
    monkeypatch.setattr(decode_module, "BLOCK", 2**14)
    image, side = Image.open(io.BytesIO(sample(mode, transparent))), 3000
    data = encode(image.resize((side, side), Image.Resampling.NEAREST), format=image.format, **transparent)
    decode(data, 3, (8, 8), 65535 if mode[0] in "IF" else None)  # loads the libraries

    def resident(name):
        return int(re.findall(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())[0]) * 1024

    Path("/proc/self/clear_refs").write_text("5")  # restarts the peak
    before = resident("VmRSS")
    decode(data, 3, (8, 8), 65535 if mode[0] in "IF" else None)
    assert (resident("VmHWM") - before) / side**2 <= own + 4.5
