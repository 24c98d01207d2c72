"""Only this machine's own browser, and only what the page needs."""

import socket
import sys

import pytest

from hybrid_dip.app.server import allowed, serve
from hybrid_dip.errors import SettingsError

HERE = "127.0.0.1:7860"


@pytest.mark.parametrize(
    "path", ["/", "/assets/index.js", "/gradio_api/queue/join", "/gradio_api/upload", "/gradio_api/file=/tmp/a"]
)
def test_the_page_gets_what_it_needs(path: str) -> None:
    assert allowed(HERE, None, path)
    assert allowed(HERE, "http://127.0.0.1:7860", path)
    assert allowed("localhost:7860", "http://localhost:7860", path)


@pytest.mark.parametrize(
    ("host", "origin", "path"),
    [
        (HERE, None, "/gradio_api/info"),
        (HERE, None, "/gradio_api/openapi.json"),
        (HERE, None, "/gradio_api/proxy=http://example.org"),
        (HERE, None, "/gradio_api/run/predict"),
        (HERE, None, "/monitoring"),
        (HERE, None, "/docs"),
        ("evil.example", None, "/"),
        ("127.0.0.1.evil.example", None, "/"),
        ("", None, "/"),
        (HERE, "http://evil.example", "/gradio_api/upload"),
        (HERE, "http://127.0.0.1:3000", "/gradio_api/upload"),
        (HERE, "null", "/gradio_api/upload"),
    ],
)
def test_all_else_is_refused(host: str, origin: str | None, path: str) -> None:
    assert not allowed(host, origin, path)


@pytest.mark.parametrize("port", [70000, -1])
def test_a_port_that_cannot_be_had_is_a_sentence(port: int) -> None:
    with pytest.raises(SettingsError, match=f"Port {port} cannot be had"):
        serve(port, print)


def test_a_port_that_is_taken_is_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SettingsError, match="choose another by --port"):
        serve(taken.getsockname()[1], print)


def test_without_gradio_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(SettingsError, match=r"pip install 'hybrid-dip\[app\]'"):
        serve(0, print)
