"""Run the script that mutates images, for a few of them."""

import runpy
from pathlib import Path


def test_mutated_images_are_read_or_refused_in_one_line(capsys):
    main = runpy.run_path(str(Path(__file__).with_name("fuzz_images.py")))["main"]
    assert main(["--number", "70"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("images: 70 tried, ")
