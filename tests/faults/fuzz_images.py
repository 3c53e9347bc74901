"""`make faults`: read mutated images, from a folder and from a .zip; each must be read or be refused in one line.

The files are small drawn images of all formats that Pillow can write. Counted are tracebacks (any exception but
UnreadableImageError or UserError), hangs, ends of the process, and what takes more memory than an image of the limit.
Processes of CHUNK files each read them, since a decoder in C could end the process.
"""

import argparse
import io
import multiprocessing
import random
import re
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from datamodule.class_folders import names_in_zip
from datamodule.image_folder import FileSource
from process.errors import UserError

CHUNK = 250  # files of one process
MEGAPIXELS = 1.0  # data.max_megapixels
MEMORY = 64 * 2**20  # bytes that one file may take: the pixels of the limit, and decoders' own
SECONDS = 5.0  # of computing, for one file
SILENCE = 120.0  # seconds without an answer after which a process hangs, on a loaded machine too
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@dataclass
class Result:
    """Counts of the files of one format, and what they cost."""

    counts: Counter = field(default_factory=Counter)
    slowest: float = 0.0
    largest: int = 0

    def line(self, name: str) -> str:
        counts = self.counts
        return (
            f"{name}: {counts.total():,} tried, {counts['read']:,} read, {counts['refused']:,} refused in one line, "
            f"{counts['traceback']} tracebacks, {counts['hang']} hangs, {counts['end']} ends of the process, "
            f"{counts['memory']} above {MEMORY // 2**20} MiB, slowest {self.slowest:.1f} s, "
            f"most memory {self.largest / 2**20:.1f} MiB"
        )


def originals() -> dict[str, bytes]:
    """Return small images by their file names: digits in colours, with transparency, palettes and 16 bits."""
    digit = Image.fromarray((load_digits().images[3] * 15).astype(np.uint8)).resize((40, 30), Image.Resampling.BILINEAR)
    colour = Image.merge("RGB", (digit, digit.transpose(Image.Transpose.FLIP_LEFT_RIGHT), digit.rotate(180)))
    transparent = colour.copy()
    transparent.putalpha(digit)
    deep = Image.fromarray(np.asarray(digit).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = bytes(range(256)) * 8
    images = {
        "rgb.jpg": (colour, {"exif": exif, "icc_profile": profile}),
        "progressive.jpg": (colour, {"progressive": True}),
        "cmyk.jpg": (colour.convert("CMYK"), {}),
        "rgb.png": (colour, {"exif": exif, "icc_profile": profile}),
        "rgba.png": (transparent, {}),
        "palette.png": (colour.quantize(16), {"transparency": bytes(range(0, 256, 16))}),
        "deep.png": (deep, {"transparency": 257}),
        "moving.apng": (colour, {"format": "PNG", "save_all": True, "append_images": [colour.rotate(90)]}),
        "palette.gif": (colour.quantize(64), {"transparency": 3}),
        "moving.gif": (colour, {"save_all": True, "append_images": [colour.rotate(90), transparent]}),
        "rgb.bmp": (colour, {}),
        "bits.bmp": (digit.convert("1"), {}),
        "rgb.tif": (colour, {}),
        "lzw.tif": (colour, {"compression": "tiff_lzw"}),
        "jpeg.tif": (colour, {"compression": "jpeg"}),
        "deep.tif": (deep, {}),
        "float.tif": (Image.fromarray(np.asarray(digit).astype(np.float32)), {}),
        "lab.tif": (colour.convert("LAB"), {"compression": "tiff_adobe_deflate"}),
        "lossy.webp": (colour, {"exif": exif}),
        "rgba.webp": (transparent, {"lossless": True}),
        "rgb.ppm": (colour, {}),
        "deep.pgm": (deep, {}),
        "rgb.jp2": (colour, {}),
        "rgba.j2k": (transparent, {}),
        "rgb.tga": (colour, {"compression": "tga_rle"}),
        "rgba.ico": (transparent.resize((32, 32)), {}),
        "bmp.ico": (transparent.resize((32, 32)), {"bitmap_format": "bmp"}),
        "rgba.icns": (transparent.resize((32, 32)), {}),
        "rgb.pcx": (colour, {}),
        "rgb.sgi": (colour, {}),
        "rgba.dds": (transparent, {}),
        "rgb.avif": (colour, {"speed": 10}),
        "rgb.qoi": (colour, {}),
    }
    files = {}
    for name, (image, settings) in images.items():
        stream = io.BytesIO()
        image.save(stream, **{"format": Image.registered_extensions()[Path(name).suffix]} | settings)
        files[name] = stream.getvalue()
    files["plain.ppm"] = b"P3 3 2 255 " + b"1 2 3 " * 6
    files["rgb.psd"] = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 4, 5, 8, 3) + bytes(14) + bytes(range(60))
    return files


def mutated(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Return the file with one to three faults: other bytes, extreme numbers, missing, repeated and foreign parts."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        # headers are small, and most faults of decoders are there
        place = rng.randrange(min(len(found), 128) if rng.random() < 0.6 else len(found)) if found else 0
        kind = rng.randrange(8)
        if kind == 0:
            found[place : place + 1] = bytes([rng.randrange(256)])
        elif kind == 1 and found:
            found[place % len(found)] ^= 1 << rng.randrange(8)
        elif kind == 2:
            size, order = rng.choice((1, 2, 4)), rng.choice(("little", "big"))
            number = rng.choice(EXTREMES) & (256**size - 1)
            found[place : place + size] = number.to_bytes(size, order)
        elif kind == 3:
            del found[place:]
        elif kind == 4:
            del found[place : place + rng.randint(1, 64)]
        elif kind == 5:
            found[place:place] = found[place : place + rng.randint(1, 64)]
        elif kind == 6:
            found[place:place] = rng.randbytes(rng.randint(1, 64))
        else:
            other = rng.choice(others)
            begin = rng.randrange(len(other))
            found[place:] = other[begin : begin + rng.randint(1, 4096)]
    return with_checksums(bytes(found)) if rng.random() < 0.7 else bytes(found)


def with_checksums(data: bytes) -> bytes:
    """Return a PNG whose chunks have the right checksums, so that its faults are not found by these."""
    found, place = bytearray(data), 8
    while data.startswith(b"\x89PNG") and place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        end = place + 8 + length
        if end + 4 > len(data):
            break
        struct.pack_into(">I", found, end, zlib.crc32(data[place + 4 : end]))
        place = end + 4
    return bytes(found)


def case(number: int, seed: int, files: dict[str, bytes]) -> tuple[str, str, bytes]:
    """Return the name, "folder" or "zip", and the bytes of the folder's file or of the .zip of a mutation."""
    rng = random.Random(f"{seed} {number}")
    names = sorted(files)
    name = names[number % len(names)]
    faulty = mutated(files[name], list(files.values()), rng)
    if number // len(names) % 4:
        return name, "folder", faulty
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        archive.writestr(f"a/{name}", faulty)
    # half of the archives have faults of their own
    return name, "zip", mutated(stream.getvalue(), [faulty or b"0"], rng) if rng.random() < 0.5 else stream.getvalue()


def read(name: str, where: str, data: bytes, scratch: Path) -> str:
    """Read the images and return "read" or the line that refuses them."""
    path = scratch / (name if where == "folder" else "images.zip")
    path.write_bytes(data)
    try:
        names = [name] if where == "folder" else names_in_zip(path)
        root = scratch if where == "folder" else path
        source = FileSource(root, {"": names}, [0], (3, 16, 16), max_megapixels=MEGAPIXELS)
        for i in range(len(names)):
            source.image(i)
    except UserError as error:
        return str(error)
    finally:
        path.unlink()
    return "read"


def peak(reset: bool = False) -> int:
    """Return the largest resident memory of this process since the last reset, in bytes."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    return int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]) * 1024


def work(numbers: range, seed: int, files: dict[str, bytes], answers: Connection) -> None:
    """Try each mutation and send (kind, what was said, seconds, bytes) for each."""
    with tempfile.TemporaryDirectory() as scratch:
        for number in numbers:
            name, where, data = case(number, seed, files)
            before, began, said = peak(reset=True), time.process_time(), ""
            with warnings.catch_warnings(record=True) as shown:
                try:
                    said = read(name, where, data, Path(scratch))
                    kind = "read" if said == "read" else "refused" if "\n" not in said else "traceback"
                    if shown:
                        kind, said = "traceback", f"a warning is shown: {shown[0].message}"
                except Exception:
                    kind, said = "traceback", traceback.format_exc()
            seconds, memory = time.process_time() - began, peak() - before
            kind = "hang" if seconds > SECONDS else "memory" if memory > MEMORY else kind
            answers.send((kind, said, seconds, memory))


def answers_of(numbers: range, seed: int, files: dict[str, bytes]) -> Iterator[tuple[int, str, str, float, int]]:
    """Yield (number, kind, what was said, seconds, bytes); start another process after one that ends or hangs."""
    context = multiprocessing.get_context("fork")
    while numbers:
        chunk = numbers[:CHUNK]
        read_end, write_end = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(chunk, seed, files, write_end))
        process.start()
        write_end.close()
        for number in chunk:
            numbers = numbers[1:]
            try:
                if read_end.poll(SILENCE):
                    yield number, *read_end.recv()
                    continue
                fault = "hang", f"no answer for {SILENCE:g} s", SILENCE, 0
            except EOFError:
                process.join()
                fault = "end", f"exit code {process.exitcode}", 0.0, 0
            process.kill()
            yield number, *fault
            break
        process.join()
        read_end.close()


def fuzz(numbers: range, seed: int) -> bool:
    """Print a line for each format and for each failure, and return whether there was none."""
    files, results, everything = originals(), dict[str, Result](), Result()
    names = sorted(files)
    for number, kind, said, seconds, memory in answers_of(numbers, seed, files):
        name = names[number % len(names)]
        for result in (results.setdefault(Path(name).suffix, Result()), everything):
            result.counts[kind] += 1
            result.slowest, result.largest = max(result.slowest, seconds), max(result.largest, memory)
        if kind not in ("read", "refused"):
            again = f"--seed {seed} --first {number} --number 1"
            print(f"{again} ({name}): {kind}, {seconds:.1f} s, {memory:,} bytes: {said}")
    for name, result in sorted(results.items()):
        print(result.line(name))
    print(everything.line("images"))
    return not everything.counts.keys() - {"read", "refused"}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=2000, help="of mutations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation")
    options = parser.parse_args(arguments)
    return 0 if fuzz(range(options.first, options.first + options.number), options.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
