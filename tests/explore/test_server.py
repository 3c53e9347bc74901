"""The page as `make explore` serves it answers under its own names only, and to its own pages only."""

import urllib.request
from urllib.parse import urlsplit

import pytest
from handshakes import handshake, status
from servers import explore_server

pytestmark = pytest.mark.processes

pytest.importorskip("streamlit", reason="Streamlit is not installed: make install")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with explore_server(tmp_path_factory.mktemp("empty")) as (address, _):
        yield address


@pytest.fixture(scope="module")
def port(address):
    return urlsplit(address).port


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
def test_it_answers_under_its_own_names(name, address, port):
    for host in (f"{name}:{port}", f"{name}:16006"):  # the latter through ssh -L 16006:localhost:8501
        assert status(address, "/", Host=host) == 200
        assert handshake(address, "/_stcore/stream", Host=host, Origin=f"http://{host}") == 101
        assert handshake(address, "/_stcore/stream", Host=host) == 101  # a program, which is no browser


@pytest.mark.parametrize(
    "host",
    ["rebound.example:{}", "rebound.example", "localhost.rebound.example:{}", "x@localhost:{}", "192.0.2.7:{}", None],
)
@pytest.mark.parametrize("path", ["/", "/_stcore/health", "/_stcore/host-config", "/media/x.png", "/component/x/y"])
def test_another_host_name_is_refused(host, path, address, port):
    host = host and host.format(port)
    refused = 403 if host else 400  # without Host, it is no HTTP/1.1
    assert status(address, path, Host=host) == refused
    assert handshake(address, "/_stcore/stream", Host=host, Origin=f"http://{host}") == refused


@pytest.mark.parametrize(
    "origin", ["http://rebound.example:{}", "http://localhost:1{}", "null", "file://localhost:{}", ""]
)
def test_pages_of_other_origins_are_refused_under_its_own_name_too(origin, address, port):
    headers = {"Host": f"localhost:{port}", "Origin": origin.format(port)}
    assert status(address, "/_stcore/host-config", **headers) == 403
    assert handshake(address, "/_stcore/stream", **headers) == 403


def test_no_page_of_another_origin_can_show_it_in_a_frame(address, port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as reply:
        assert reply.headers["Content-Security-Policy"] == "frame-ancestors 'self'"
