"""Only this machine's own browser, and only what the page needs."""

import pytest

from hybrid_dip.app.server import allowed

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
