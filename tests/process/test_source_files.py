"""Copies of a source tree: they leave out secrets, what git ignores, and what cannot be copied."""

import os
import socket
import subprocess
from pathlib import Path

import pytest
from runs import REPOSITORY

from process.source_files import SourceFiles, is_secret
from process.text import printable

KEY = "-----BEGIN OPENSSH PRIVATE " + "KEY-----\nabc\n"
HIDDEN = (".*",)


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def names(found: SourceFiles) -> list[str]:
    return [printable(path) for path in found.files]


def reasons(found: SourceFiles) -> dict[str, str]:
    return {printable(path): reason for path, reason in found.left_out.items()}


@pytest.mark.parametrize(
    "name",
    [
        *(".env", ".env.local", ".envrc", "prod.env", ".netrc", ".npmrc", ".pypirc", ".git-credentials", ".ssh"),
        *("server.pem", "SERVER.PEM", "tls.key", "a.p12", "a.pfx", "ca.crt", "id_rsa", "id_rsa.pub", "id_ed25519"),
        *("credentials", "credentials.json", "aws-credentials.ini", "kubeconfig", "prod.kubeconfig", "secrets.toml"),
        *("client_secret_12.json", "service-account.json", "kaggle.json"),
    ],
)
def test_names_of_secrets(name):
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *(".env.default", "key.py", "attention_key.py", "secrets.py", "credentials.py", "id_rsa_attack.py", "key"),
        *(
            "keys.yaml",
            "environment.yaml",
            "monkey.jpg",
            "credentials.md",
            "token.yaml",
            "tokenizer.json",
            ".gitignore",
        ),
    ],
)
def test_other_names(name):
    assert not is_secret(name)


def test_this_repository_has_none():
    listed = subprocess.run(["git", "-C", REPOSITORY, "ls-files"], capture_output=True, text=True, check=False)
    assert [name for name in listed.stdout.split() if is_secret(Path(name).name)] == []


def test_secrets_wherever_they_lie(tmp_path):
    write(tmp_path, **{"src/a.py": "1", "src/deep/.env": "A=1", "src/deep/key.py": "1", "src/.aws/config": "1"})
    write(
        tmp_path, **{"src/notes.txt": f"# mine\n{KEY}", "config/account.json": '{"private_key": "' + KEY, ".env": "1"}
    )
    write(tmp_path, **{"src/tests.py": f'KEY = "{KEY}"', "outside/.env": "1"})
    (tmp_path / "src" / "settings.yaml").symlink_to("../outside/.env")
    found = SourceFiles(tmp_path, ("src", "config"), HIDDEN)
    assert names(found) == ["src/a.py", "src/deep/key.py", "src/tests.py"]
    hidden = {"src/deep/.env", "src/.aws", "src/notes.txt", "config/account.json", "src/settings.yaml"}
    assert reasons(found) == dict.fromkeys(hidden, "may hold a secret")


def test_what_git_ignores_at_every_level(tmp_path):
    write(tmp_path, **{".gitignore": "*.ckpt\n/src/local/\nb.py\n", "src/.gitignore": "x.py\n!b.py\n!/local/\n"})
    write(tmp_path, **dict.fromkeys(("src/a.py", "src/b.py", "src/x.py", "src/w.ckpt", "x.py", "b.py"), "1"))
    write(tmp_path, **dict.fromkeys(("src/local/net.py", "other/local/net.py", "src/__pycache__/a.pyc"), "1"))
    write(tmp_path, **dict.fromkeys(("src/é.py", "src/not here.py", ".git/info/exclude"), "1"))
    (tmp_path / ".git" / "info" / "exclude").write_text("not here.py\n")
    found = SourceFiles(tmp_path)
    subprocess.run(["git", "init", "--quiet", "--template=", tmp_path], check=True)
    command = ["git", "-C", tmp_path, "ls-files", "-z", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    assert names(found) == sorted((name for name in listed if name and "__pycache__" not in name), key=Path)
    assert "src/b.py" in names(found)
    assert reasons(found) == dict.fromkeys(("src/w.ckpt", "src/x.py", "b.py", "src/not here.py"), "git ignores it")
    assert found.lost_code() == ["b.py", "src/not here.py", "src/x.py"]


def test_what_cannot_be_copied(tmp_path):
    write(tmp_path, **{"src/a.py": "1", "elsewhere/c.py": "1", "src/venv/pyvenv.cfg": "", "src/venv/lib/b.py": "1"})
    write(tmp_path, **{"src/theirs/.git/config": "", "src/theirs/d.py": "1"})
    source = tmp_path / "src"
    (source / "nothing").symlink_to("absent")
    (source / "itself").symlink_to("itself")
    (source / "up").symlink_to("..")
    (source / "all").symlink_to("/")
    (source / "one").mkdir()
    (source / "two").mkdir()
    (source / "one" / "two").symlink_to("../two")
    (source / "two" / "one").symlink_to("../one")
    (source / "linked").symlink_to("../elsewhere")
    os.mkfifo(source / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(source)  # the path of a socket has 107 characters at most
        server.bind("socket")
        os.chdir(here)
    with (source / "large.bin").open("wb") as file:
        file.truncate(100 * 2**20 + 1)
    Path(os.fsdecode(os.fsencode(source) + b"/\xff.py")).write_text("1")
    found = SourceFiles(tmp_path, ("src", "absent"), avoid=tmp_path / "outputs")
    assert names(found) == ["src/a.py", "src/linked/c.py", "src/theirs/d.py", "src/\\xff.py"]
    circle = "a link that leads in circles"
    assert reasons(found) == {
        **dict.fromkeys(("src/itself", "src/up", "src/all", "src/one/two/one", "src/two/one/two"), circle),
        **{"src/nothing": "a link to nothing", "src/pipe": "no regular file", "src/socket": "no regular file"},
        **{"src/large.bin": "more than 100 MiB", "src/venv": "a Python environment"},
    }
    assert found.describe().endswith(" and 5 more")
    assert SourceFiles(tmp_path, ("src",), keeps_links=True).left_out[Path("src/theirs")] == "another repository"


def test_what_may_not_be_read(tmp_path):
    write(tmp_path, **{"src/a.py": "1", "src/b.py": "1", "src/closed/c.py": "1"})
    (tmp_path / "src" / "b.py").chmod(0)
    (tmp_path / "src" / "closed").chmod(0)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode | 0o711)
    read, write_end = os.pipe()
    if os.fork() == 0:  # root may read everything
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            found = SourceFiles(tmp_path, ("src",))
            os.write(write_end, f"{names(found)} {found.describe()}".encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with open(read) as pipe:  # noqa: PTH123
        said = pipe.read()
    os.wait()
    (tmp_path / "src" / "closed").chmod(0o755)
    denied = "(cannot be read: Permission denied)"
    assert said == f"['src/a.py'] src/b.py {denied}, src/closed {denied}"
