"""`make bench`: every claim of speed in docs/accuracies.md, both sides in turn, in one run, on this machine.

CPU seconds of this process (or of the commands that it starts), one thread; the median of several pairs.
"""

import argparse
import platform

import command_line
import cutout
import data_path
import epoch
import explore_clicks
import feature_bags
import image_folder
import image_sizes
import large_images
import loggers
import mnist_fast
import predict_files
import report_runs
import sets
import start_up
import step_cost
import sweep_jobs
import torch
import torchmil_models

PARTS = {
    "data_path": data_path,
    "cutout": cutout,
    "sets": sets,
    "torchmil_models": torchmil_models,
    "step_cost": step_cost,
    "loggers": loggers,
    "epoch": epoch,
    "command_line": command_line,
    "start_up": start_up,
    "report_runs": report_runs,
    "predict_files": predict_files,
    "image_folder": image_folder,
    "explore_clicks": explore_clicks,
    "feature_bags": feature_bags,
    "large_images": large_images,
    "image_sizes": image_sizes,
    "mnist_fast": mnist_fast,
    "sweep_jobs": sweep_jobs,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"which of {', '.join(PARTS)} (default: all)")
    chosen = parser.parse_args().parts or list(PARTS)
    print(f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}, one thread")
    for name in chosen:
        print(f"\n{name}: {PARTS[name].__doc__.splitlines()[0]}")
        PARTS[name].main()
