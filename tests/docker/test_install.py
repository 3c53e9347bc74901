"""Environments are filled from a lock by hash, with CUDA or without; what fails leaves the environment as it was.

torch without CUDA comes from the index of uv's --torch-backend cpu, whose place a server in this process takes.
"""

import base64
import datetime
import hashlib
import http.server
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from runs import REPOSITORY

pytestmark = pytest.mark.processes

CUDA = {"torch": "2.15.0", "torchvision": "0.29.2", "triton": "3.9.0", "cuda-toolkit": "13.2.2",
        "nvidia-cublas": "13.4.1"}  # fmt: skip
OTHERS = {"filelock": "3.20", "nvidia-ml-py": "13.590"}
UV = f"uv=={distribution('uv').version}"


def write_wheel(folder: Path, name: str, version: str) -> str:
    """Write a wheel that holds a module of its version, and return its hash."""
    stem = f"{name.replace('-', '_')}-{version}"
    files = {
        f"{name.replace('-', '_')}.py": f"__version__ = {version!r}\n",
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {path: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()) for path, text in files.items()}
    record = "".join(f"{path},sha256={digest.decode().rstrip('=')},\n" for path, digest in digests.items())
    folder.mkdir(exist_ok=True)
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in (files | {f"{stem}.dist-info/RECORD": f"{record}{stem}.dist-info/RECORD,,\n"}).items():
            archive.writestr(path, text)
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate of the host that has PyTorch's indices, and return its path and that of its key."""
    key, host = ec.generate_private_key(ec.SECP256R1()), "download.pytorch.org"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path, key_path = folder / "certificate.pem", folder / "key.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path, key_path


class Indices(http.server.BaseHTTPRequestHandler):
    """Proxy that answers in the place of the host of PyTorch's indices; asked directly, it is another index.

    `server.folders` has the wheels of an index by its name, the first part of the path.
    """

    protocol_version = "HTTP/1.1"
    server: Any

    def do_CONNECT(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)

    def do_GET(self) -> None:
        """Answer /INDEX/.../NAME/ with links and /INDEX/.../NAME/FILE with the file."""
        index, *_, name, file = unquote(self.path).lstrip("/").split("/")
        wheels = sorted(self.server.folders[index].glob(f"{name.replace('-', '_')}-*.whl"))
        body = "".join(f'<a href="{quote(wheel.name)}">{wheel.name}</a>' for wheel in wheels).encode()
        if file and wheels:
            body = wheels[0].with_name(file).read_bytes()
        self.send_response(200 if wheels else 404)
        self.send_header("Content-Type", "application/octet-stream" if file else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def finish(self) -> None:
        super().finish()
        self.connection.close()  # the encrypted one of do_CONNECT

    def log_message(self, *_: object) -> None:
        pass


class Environment:
    """Environment with pip and uv, a lock, and the places from which it can be filled."""

    def __init__(self, folder: Path, empty: Path, server: Any) -> None:
        self.folder, self.venv, self.lock = folder, folder / "venv", folder / "requirements-cuda12.txt"
        shutil.copytree(empty, self.venv, symlinks=True)
        (self.site_packages,) = self.venv.glob("lib/python*/site-packages")
        lines = [f"{UV} --hash=sha256:{'0' * 64}"]
        for name, version in (CUDA | OTHERS).items():
            digest = write_wheel(folder / "wheels", name, version)
            marker = " ; sys_platform != 'none'" if name in ("triton", "nvidia-cublas") else ""
            lines.append(f"{name}=={version}{marker} \\\n    --hash=sha256:{'f' * 64} \\\n    --hash=sha256:{digest}")
            lines.append("    # via\n    #   patch-sets (pyproject.toml)")
        self.lock.write_text("\n".join(lines) + "\n", encoding="utf-8")
        server.folders[folder.name] = folder / "wheels"
        self.variables = {
            "HTTPS_PROXY": f"http://127.0.0.1:{server.server_port}",
            "SSL_CERT_FILE": str(server.certificate),
            "UV_CACHE_DIR": str(folder / "cache"),
            "UV_DEFAULT_INDEX": f"http://127.0.0.1:{server.server_port}/{folder.name}",
            "UV_HTTP_RETRIES": "0",
            "UV_NO_CONFIG": "1",
            "PIP_NO_INDEX": "1",
        }

    def install(self, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name in ("HOME", "PATH")} | self.variables
        command = ["sh", REPOSITORY / "docker/install.sh", self.venv, self.lock, *options]
        return subprocess.run(command, env=kept | variables, capture_output=True, text=True)

    def versions(self) -> dict[str, str]:
        """Return what is installed besides pip, setuptools and uv."""
        found = [path.name.removesuffix(".dist-info").rsplit("-", 1) for path in self.site_packages.glob("*.dist-info")]
        return {name.replace("_", "-"): version for name, version in found if name not in ("pip", "setuptools", "uv")}

    def installed(self) -> str:
        return (self.venv / ".installed").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("index")
    for name in ("torch", "torchvision"):
        write_wheel(folder / "wheels", name, f"{CUDA[name]}+cpu")
    certificate, key = write_certificate(folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Indices) as server:
        server.certificate, server.folders = certificate, {"whl": folder / "wheels"}
        server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.tls.load_cert_chain(certificate, key)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Environment with pip and this environment's uv."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    uv = distribution("uv")
    (about,) = {Path(str(uv.locate_file(file))).parent for file in uv.files or [] if file.name == "METADATA"}
    (site_packages,) = folder.glob("lib/python*/site-packages")
    shutil.copytree(about, site_packages / about.name)
    (folder / "bin/uv").symlink_to(Path(sys.executable).parent / "uv")
    return folder


@pytest.fixture
def environment(server: Any, empty: Path, tmp_path: Path) -> Environment:
    return Environment(tmp_path, empty, server)


def test_torch_without_cuda_replaces_torch_and_is_replaced(environment: Environment) -> None:
    done = environment.install()
    assert done.returncode == 0, done.stderr
    assert environment.versions() == CUDA | OTHERS
    lock = environment.lock.read_text(encoding="utf-8")
    assert environment.installed() == f"requirements-cuda12.txt\n{lock}"

    done = environment.install(CPU="1")
    assert done.returncode == 0, done.stderr
    assert environment.versions() == OTHERS | {"torch": "2.15.0+cpu", "torchvision": "0.29.2+cpu"}
    assert environment.installed() == f"requirements-cuda12.txt CPU=1\n{lock}"

    done = environment.install(CPU="0")
    assert done.returncode == 0, done.stderr
    assert environment.versions() == CUDA | OTHERS


@pytest.mark.parametrize("cpu", ["0", "1"])
def test_other_file_than_the_lock_names_is_refused(environment: Environment, cpu: str) -> None:
    write_wheel(environment.folder / "wheels", "filelock", "3.20")
    with zipfile.ZipFile(environment.folder / "wheels/filelock-3.20-py3-none-any.whl", "a") as wheel:
        wheel.writestr("another.py", "")
    done = environment.install(CPU=cpu)
    assert done.returncode != 0
    assert re.search(r"[Hh]ash mismatch for `filelock==3\.20`", done.stderr)
    assert environment.versions() == {}
    assert not (environment.venv / ".installed").exists()


def test_torch_out_of_reach_leaves_the_environment(environment: Environment) -> None:
    assert environment.install().returncode == 0
    before = environment.installed()
    done = environment.install(CPU="1", HTTPS_PROXY="http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"torch without CUDA is out of reach, and nothing was changed: [^\n]+\. Without CPU=1[^\n]+\n",
                        done.stderr)  # fmt: skip
    assert (environment.versions(), environment.installed()) == (CUDA | OTHERS, before)


def test_version_that_the_index_lacks_is_named(environment: Environment) -> None:
    text = environment.lock.read_text(encoding="utf-8").replace("torch==2.15.0", "torch==2.15.1")
    environment.lock.write_text(text, encoding="utf-8")
    done = environment.install(CPU="1")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "nothing was changed" in done.stderr
    assert "torch==2.15.1" in done.stderr


def test_old_python_is_refused_with_the_remedy(environment: Environment) -> None:
    python = environment.venv / "bin/python"
    python.unlink()
    old = "import sys; sys.version_info = (3, 10, 13)"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$1" "{old}; exec(sys.argv[1])" "$2"\n', encoding="utf-8")
    python.chmod(0o755)
    done = environment.install()
    assert (done.returncode, done.stderr) == (
        1, "Python 3.10 is older than 3.11: the README says under Start how to get another\n"
    )  # fmt: skip
    assert not (environment.venv / ".installed").exists()


def test_options_reach_uv(environment: Environment) -> None:
    assert environment.install("--dry-run", UV_OPTIONS="--compile-bytecode --link-mode copy").returncode == 0
    assert environment.versions() == {}
    assert environment.install("--compile-bytecode", UV_OPTIONS="--quiet").stderr == ""
    assert list((environment.site_packages / "__pycache__").glob("torch.*.pyc"))
