"""Training on ten patches of images of 500 to 40,000 pixels: CPU time for an image, and the memory of the command.

RGB pyramids in tiled TIFF, one tile of four filled, of which ten patches of 64x64 are taken: drawn at random, drawn
from a map of a thumbnail, or the best of all patches of a grid. The thumbnail's pixels are side / 125 pixels wide, so
that it has as many for every image; with a fixed scale, its memory grows by the area.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from large import write_sparse_tiff
from timing import row

SIDES = (500, 1_500, 5_000, 15_000, 40_000)
IMAGES, EPOCHS = 8, 6
TRAIN = Path(__file__).parents[2] / "src" / "train.py"
STATUS = "/proc/self/status"  # VmHWM, in KiB, is that of the command; ru_maxrss would begin with this process's
PEAK = f"import pathlib, re; print('peak', re.findall(r'VmHWM:\\s+([0-9]+)', pathlib.Path('{STATUS}').read_text())[0])"
COMMON = [
    "data=large_images",
    "model/position=sinusoidal",
    "hparams.patch_num_min=10",
    "hparams.patch_num_max=10",
    "data.root=images",
    "hydra.run.dir=run",
    "hparams.batch_size=4",
    f"hparams.max_epochs={EPOCHS}",
    "data.valid=0",
    "loggers=none",
    "callbacks=[basic]",
]
# in src/selection/, the largest side that is measured: all patches of a grid take time by the area
SELECTIONS = {
    "random": ((), 40_000),
    "attention_sampling": (("hparams.pool=[mean]", "model.network.selection.unbiased=false"), 40_000),
    "ips": (("model=attention_mil", "model/position=none"), 5_000),
}


def measured(folder: Path, *words: str) -> tuple[float, float]:
    """Train in a process of its own; return the CPU seconds for an image and the most memory, in GiB."""
    code = f"import runpy, sys; sys.argv = {[str(TRAIN), *words]!r}; sys.path.insert(0, {str(TRAIN.parent)!r})\n"
    code += f"try: runpy.run_path(sys.argv[0], run_name='__main__')\nfinally: {PEAK}"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, text=True)
    facts = json.loads((folder / "run" / "run.json").read_text())
    shutil.rmtree(folder / "run")
    return facts["training"]["cpu_seconds"] / (EPOCHS * IMAGES), int(re.findall(r"peak (\d+)", done.stdout)[-1]) / 2**20


def main() -> None:
    for side in SIDES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for number in range(IMAGES + 2):
                part = "train" if number < IMAGES else "test"
                path = folder / "images" / part / "ab"[number % 2] / f"{number}.tif"
                write_sparse_tiff(path, side, 256, 100 + 100 * (number % 2), filled=4)
            for selection, (words, largest) in SELECTIONS.items():
                if side > largest:
                    continue
                own = [f"model/selection={selection}", *words]
                if selection == "attention_sampling":
                    own.append(f"model.network.selection.scale={side // 125}")
                seconds, peak = measured(folder, *COMMON, *own)
                row(f"{side} pixels, {selection}, CPU ms an image", f"{1000 * seconds:.1f}", f"{peak:.2f} GiB")
