"""start.py at a pseudo-terminal, where keys are typed one after the other; a fake driver reports the GPUs."""

import codecs
import json
import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest
from runs import REPOSITORY

from ask import choices

TIMEOUT = 120  # seconds, for a slow machine: every wait ends as soon as what it waits for is there
START = [sys.executable, str(REPOSITORY / "src" / "start.py")]
DOWN, ENTER, ESC, CTRL_C = "\x1b[B", "\r", "\x1b", "\x03"
DRIVER = """
class NVMLError(Exception): pass
class NVMLError_NotSupported(NVMLError): pass
class Memory: free, total = 100 * 2**30, 140 * 2**30
class Rates: gpu = 3
def nvmlInit(): pass
def nvmlDeviceGetCount(): return 2
def nvmlDeviceGetHandleByIndex(index): return index
def nvmlDeviceGetName(index): return ["Old", "New"][index]
def nvmlDeviceGetMemoryInfo(index): return Memory
def nvmlDeviceGetUtilizationRates(index): return Rates
def nvmlDeviceGetUUID(index): return f"GPU-{index}"
def nvmlDeviceGetCudaComputeCapability(index): return 9, 0
def nvmlSystemGetDriverVersion(): return "580.95"
def nvmlSystemGetCudaDriverVersion_v2(): return 13020
"""


class Terminal:
    """start.py at a terminal of 300 columns, in which no line is wrapped."""

    def __init__(self, folder, **variables):
        self.master, slave = pty.openpty()
        subprocess.run(["stty", "cols", "300", "rows", "60"], stdin=slave, check=True)
        environment = os.environ | {"TERM": "xterm", "PYTHONPATH": ""} | variables
        self.process = subprocess.Popen(
            START, cwd=folder, env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.rest = self.screen = ""

    def until(self, pattern):
        """Wait for the pattern in the text after the last match."""
        end = time.monotonic() + TIMEOUT
        while not (match := re.search(pattern, self.screen)):
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            assert ready, f"no {pattern!r} within {TIMEOUT} s in:\n{self.screen}"
            self.read()
        self.screen = self.screen[match.end() :]
        return match

    def read(self):
        """Read a chunk; an incomplete letter or control sequence at its end waits for the next chunk."""
        chunk = os.read(self.master, 4096)
        text = self.rest + self.decoder.decode(chunk)
        begun = re.search(r"\x1b(\[[\d;?]*)?$", text)
        end = begun.start() if begun else len(text)
        self.rest = text[end:]
        self.screen += re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text[:end])
        return chunk

    def answer(self, question, *keys):
        self.until(re.escape(question))
        for key in keys:
            os.write(self.master, key.encode())

    def code(self):
        """Return the exit code after reading to the end: a process waits for a terminal that nobody reads."""
        try:
            while self.read():
                pass
        except OSError:  # what Linux says instead of an end
            pass
        return self.process.wait(TIMEOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.master)


def steps(group, name):
    return [DOWN] * list(choices.options(group)).index(name)


@pytest.fixture
def two_gpus(tmp_path):
    (tmp_path / "pynvml.py").write_text(DRIVER)
    return {"PYTHONPATH": str(tmp_path)}


@pytest.mark.processes
def test_asks_shows_the_command_and_becomes_it(tmp_path, two_gpus):
    with Terminal(tmp_path, **two_gpus) as terminal:
        terminal.until("GPU 0      Old: 100 of 140 GiB free, 3 % busy")
        terminal.answer("processor", DOWN, DOWN, DOWN, ENTER)
        terminal.answer("A recipe?", ENTER)
        terminal.answer("Which data?", *steps("data", "digits"), ENTER)
        terminal.answer("Which model?", *steps("model", "cnn"), ENTER)
        terminal.answer("A comment", "日本, it's = {a}", ENTER)
        shown = terminal.until(r"\n  (\S.* trainer=cpu .*)\r\n")[1]
        terminal.answer("Run it?", DOWN, ENTER)
        assert terminal.code() == 0, terminal.screen
    (folder,) = tmp_path.glob("outputs/Default/*/*")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert (record["status"], record["comment"]) == ("finished", "日本, it's = {a}")
    assert record["command"].endswith(" debug=True")
    pasted = subprocess.run(["bash", "-c", f'printf "%s\\n" {shown}'], capture_output=True, text=True, check=True)
    _, train, *words = pasted.stdout.splitlines()
    assert (tmp_path / train).resolve() == REPOSITORY / "src" / "train.py"
    assert words == ["trainer=cpu", "data=digits", "model=cnn", "comment=日本, it's = {a}"]


@pytest.mark.processes
def test_a_change_proposes_the_answers_and_nothing_runs_before_the_last(tmp_path, two_gpus):
    with Terminal(tmp_path, **two_gpus) as terminal:
        terminal.answer("Where?", DOWN, ENTER)
        terminal.answer("A recipe?", *steps("experiment", "mnist_fast"), DOWN, ENTER)
        terminal.answer("A comment", "first", ENTER)
        # these GPUs are not alike: CUDA would count the faster one first
        terminal.until(r"\n  CUDA_DEVICE_ORDER=PCI_BUS_ID \S+ \S+ --device 1 experiment=mnist_fast comment=first\r\n")
        terminal.answer("Run it?", DOWN, DOWN, ENTER)
        terminal.answer("Where?", ENTER)
        terminal.answer("A recipe?", ENTER)
        terminal.answer("A comment", " second", ENTER)
        terminal.until(r"--device 1 experiment=mnist_fast 'comment=first second'\r\n")
        terminal.answer("Run it?", DOWN, DOWN, DOWN, ENTER)
        assert terminal.code() == 0
    assert not (tmp_path / "outputs").exists()


@pytest.mark.processes
def test_a_gpu_that_torch_cannot_use_is_not_offered(tmp_path, two_gpus):
    driver = tmp_path / "pynvml.py"
    driver.write_text(driver.read_text().replace("return 13020", "return 11040"))
    with Terminal(tmp_path, **two_gpus) as terminal:
        terminal.until(r"torch \S+ cannot use Old, New: .* 580.95 has CUDA 11.4; install driver 5\d\d or later")
        terminal.answer("A recipe?", CTRL_C)
        assert terminal.code() == 130


@pytest.mark.processes
@pytest.mark.parametrize("key", [ESC, CTRL_C])
def test_leaves_without_a_word(tmp_path, key):
    with Terminal(tmp_path, CUDA_VISIBLE_DEVICES="") as terminal:
        terminal.until("No NVIDIA GPU was found: ")
        terminal.answer("A recipe?", ENTER)
        terminal.answer("Which data?", key)
        assert terminal.code() == 130
        assert "Traceback" not in terminal.screen


@pytest.mark.processes
def test_asks_for_a_folder_until_it_holds_images(tmp_path):
    (tmp_path / "my pets" / "train").mkdir(parents=True)
    with Terminal(tmp_path, CUDA_VISIBLE_DEVICES="", DATASET="absent") as terminal:
        terminal.answer("A recipe?", ENTER)
        terminal.answer("Which data?", *steps("data", "image_folder"), ENTER)
        terminal.answer("Which model?", ENTER)
        terminal.answer("Which folder", "my ", ENTER)
        terminal.answer("neither a folder with train/<class>/<image> in it nor a .zip", "pets", ENTER)
        terminal.answer("A comment", ENTER)
        assert "data.root='\"'\"'my pets'\"'\"''" in terminal.until(r"\n  (.*train\.py.*)\r\n")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "error: start.py needs a terminal; without one: python src/train.py data=MNIST"),
        (
            ["data=digits", "a b"],
            "error: start.py takes no arguments; with settings: python src/train.py data",
        ),
    ],
)
def test_says_how_to_call_train_instead(command, capfd, words, said):
    assert command("start", *words) == 1
    out, err = capfd.readouterr()
    assert (out, err.count("\n"), err.startswith(said)) == ("", 1, True)
