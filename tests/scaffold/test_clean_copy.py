import os
import shutil
import subprocess

import pytest

from process.errors import UserError
from scaffold.clean_copy import write_copy
from scaffold.project_name import ProjectName

NEW = ProjectName("BigToes", "big_toes")
IGNORE = "# written by runs\n/outputs/\n/.env\n__pycache__/\n*.egg-info/\n*.ckpt\n!kept.ckpt\n"
PAGE = """# FrogLegs

![A frog](docs/frog.png)

![A badge](https://example.org/badge.png) stays.

<!-- results -->

## Results

0.9 ± 0.1

<!-- /results -->

## License
"""
NAVIGATION = "nav:\n  - Data: data.md\n  # results\n  - Results: results.md\n  # /results\n  - index.md\n"
KEPT = {
    ".gitignore": IGNORE,
    "pyproject.toml": '[project]\nname = "frog-legs"\n',
    "config/config.yaml": "project_name: FrogLegs\n",
    "config/experiment/fast.yaml": "# Fast.\n# One core: 3 s, 0.9 ± 0.1\n# 0.95 ± 0.1 with two\nlr: 1 # ± 0\n",
    "config/hydra/frog_legs.yaml": "# FrogLegs\n",
    "LICENSE": "Copyright The FrogLegs authors\n",
    ".github/workflows/ci.yml": "name: FrogLegs\n",
    "CHANGELOG.md": "# Changelog\n\nOf FrogLegs.\n\n## Unreleased\n\n- frogs\n\n## 1.0\n",
    "README.md": PAGE,
    "docs/empty.md": "",
    "mkdocs.yml": NAVIGATION,
    "src/outputs/a.py": "frog_legs = 'é'\r\n",  # .gitignore names /outputs/ alone
    "kept.ckpt": "x",
    "tests/frog.png": "x",
}
LEFT = [
    *(
        "outputs/run.json",
        ".env",
        "src/__pycache__/a.pyc",
        "a.egg-info/x",
        "src/best.ckpt",
        ".git/config",
        "docs/frog.png",
        "docs/accuracies.md",
        "docs/results.md",
        "CITATION.cff",
    ),
    *("environment/pyvenv.cfg", "environment/lib/a.py", "another/.git/config", "another/a.py"),
]


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "old"
    for name, text in (KEPT | dict.fromkeys(LEFT, "FrogLegs")).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", newline="")
    (folder / "tool").write_bytes(b"\xff\x00FrogLegs")
    (folder / "tool").chmod(0o755)
    (folder / "docs" / "link").symlink_to("../LICENSE")
    (folder / "nothing").symlink_to("absent")
    (folder / "docs" / "tests").symlink_to("../tests")
    return folder


def test_what_is_copied_and_in_which_words(repository, tmp_path):
    new = tmp_path / "new"
    (repository / "src" / "deploy.pem").write_text("FrogLegs")
    (repository / ".env.default").touch()
    os.mkfifo(repository / "pipe")
    copied = write_copy(repository, NEW, new)
    files = {str(path.relative_to(new)): path for path in new.rglob("*") if not path.is_dir() or path.is_symlink()}
    assert len(copied.files) == len(files)
    assert {str(path): reason for path, reason in copied.left_out.items()} == {
        **dict.fromkeys(("outputs", "src/best.ckpt"), "git ignores it"),
        **dict.fromkeys((".env", "src/deploy.pem"), "may hold a secret"),
        **{"nothing": "a link to nothing", "pipe": "no regular file"},
        **{"environment": "a Python environment", "another": "another repository"},
    }
    assert set(files) == {name.replace("frog_legs", "big_toes") for name in KEPT} | {
        ".env.default",
        "tool",
        "docs/link",
        "docs/tests",
    }
    texts = {name: path.read_bytes().decode() for name, path in files.items() if path.is_file() and name != "tool"}
    assert texts["README.md"] == "# BigToes\n\n![A badge](https://example.org/badge.png) stays.\n\n## License\n"
    assert texts["CHANGELOG.md"] == "# Changelog\n\nOf BigToes.\n\n## Unreleased\n"
    assert texts["config/experiment/fast.yaml"] == "# Fast.\nlr: 1 # ± 0\n"
    assert texts["mkdocs.yml"] == "nav:\n  - Data: data.md\n  - index.md\n"
    assert texts["LICENSE"] == KEPT["LICENSE"]
    assert texts["src/outputs/a.py"] == "big_toes = 'é'\r\n"
    assert ProjectName.of(new) == NEW
    assert files["tool"].read_bytes() == b"\xff\x00FrogLegs"
    assert files["tool"].stat().st_mode & 0o777 == 0o755
    assert str(files["docs/link"].readlink()) == "../LICENSE"


def test_gitignore_is_read_as_git_does(repository, tmp_path):
    for folder in (".git", "another", "environment"):
        shutil.rmtree(repository / folder)
    (repository / "nothing").unlink()
    subprocess.run(["git", "init", "--quiet", repository], check=True)
    command = ["git", "-C", repository, "ls-files", "--others", "--exclude-standard"]
    listed = set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    write_copy(repository, NEW, tmp_path / "new")
    new = {
        str(path.relative_to(tmp_path / "new"))
        for path in (tmp_path / "new").rglob("*")
        if not path.is_dir() or path.is_symlink()
    }
    assert new == {name.replace("frog_legs", "big_toes") for name in listed} - {
        "docs/frog.png",
        "docs/accuracies.md",
        "docs/results.md",
        "CITATION.cff",
    }


def test_a_word_of_the_code_is_no_name(repository, tmp_path):
    (repository / "src" / "a.py").write_text("def count_big_toes(): ...")
    with pytest.raises(UserError, match=r"^big_toes is already a word .* \(src/a.py\), .* such as big_toes_project$"):
        write_copy(repository, NEW, tmp_path / "new")
    assert not (tmp_path / "new").exists()
