"""The operation that README.md shows is one: its own check passes, and fails where its backward is wrong."""

import re
from textwrap import dedent

import pytest
import torch
from runs import REPOSITORY
from torch.autograd.gradcheck import GradcheckError

TEXT = (REPOSITORY / "README.md").read_text(encoding="utf-8")
CODE = dedent(re.search(r"^      class Quantize.*?eps=0.25\)[^\n]*$", TEXT, re.M | re.S)[0])


def test_its_check_passes_and_notices_a_wrong_backward():
    exec(CODE, {"torch": torch})
    with pytest.raises(GradcheckError):
        exec(CODE.replace("return grad *", "return 2 * grad *"), {"torch": torch})
