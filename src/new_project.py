"""Begin another project with a clean copy of this repository: `python src/new_project.py --help`."""

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from command import plain_command
from process.errors import UserError
from process.files import path_from_setting
from run.folder import REPOSITORY
from scaffold.clean_copy import write_copy
from scaffold.project_name import ProjectName

HELP = """\
Begin another project with a clean copy of this repository: all of its code, tests and settings, renamed everywhere (the
Docker image and container, pyproject.toml, README, project_name, environment variables), without runs, data, caches,
git history, measured results, CITATION.cff, and files that may hold a secret: .env, keys, certificates, passwords.

  python src/new_project.py NAME      the folder NAME beside this repository
  python src/new_project.py PATH      this folder; its last part is the name

A name may be typed as LeafShapes, leaf_shapes or leaf-shapes; each occurrence keeps its form. Your own files that
.gitignore does not name are copied too; what is left out is listed.

== Examples ==
  python src/new_project.py LeafShapes
  python src/new_project.py ~/research/leaf_shapes
"""


def main(words: list[str]) -> int:
    if {"-h", "--help"} & set(words):
        print(HELP, end="")
        return 0
    if len(words) != 1 or not words[0]:
        raise UserError("give one NAME or PATH: python src/new_project.py LeafShapes")
    is_path = "/" in words[0] or words[0] in (".", "..")
    typed = path_from_setting("PATH", words[0], "name a place that exists") if is_path else REPOSITORY.parent / words[0]
    target = typed.resolve()
    name = ProjectName.typed(target.name)
    refuse_place(target)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as unfinished:
            folder = Path(unfinished) / target.name
            found = write_copy(REPOSITORY, name, folder)
            begin_history(folder)
            folder.rename(target)
    except OSError as error:
        if error.filename and Path(error.filename).is_relative_to(REPOSITORY):
            raise UserError(
                f"cannot read {error.filename}: {error.strerror}; make it readable, or add it to .gitignore"
            ) from error
        raise UserError(
            f"cannot write {target}: {error.strerror or error}; choose another place: python src/new_project.py "
            f"FOLDER/{target.name}"
        ) from error
    print(f"{name.camel}: {len(found.files)} files in {target}")
    print(f"left out: {found.describe()}\n" if found.left_out else "")
    print(f"  cd {shlex.quote(os.path.relpath(target))}")
    print("  make test                       # creates its .venv first")
    print(f"  git add --all && git commit --quiet --message '{name.camel} begins'")
    print("\nThen describe it in README.md. The copyright in LICENSE is unchanged.")
    return 0


def refuse_place(target: Path) -> None:
    """Raise a UserError if no new folder can be made there."""
    if target == REPOSITORY:
        raise UserError(f"{target} is this repository: choose another name, such as ../LeafShapes")
    if target.is_relative_to(REPOSITORY):
        raise UserError(f"{target} is inside this repository: choose a place beside it, such as ../{target.name}")
    if not target.parent.is_dir():
        raise UserError(f"{target.parent}: no such folder: mkdir -p {shlex.quote(str(target.parent))}")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} already exists and is not empty: choose another name, or remove it")


def begin_history(folder: Path) -> None:
    """Run `git init` in the folder if git is installed, also when a hook's variables name another repository."""
    if shutil.which("git"):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        command = ["git", "-c", "init.defaultBranch=main", "init", "--quiet", str(folder)]
        subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False)


if __name__ == "__main__":
    plain_command.start(main)
