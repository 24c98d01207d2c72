"""Only this machine's own browser, and only what the page needs."""

import asyncio
from typing import Any

import pytest

from hybrid_dip.app.server import closed


def answer(path: str, **headers: str) -> dict[str, Any]:
    """The beginning of the answer to a request."""
    sent: list[Any] = []

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def take(message: Any) -> None:
        sent.append(message)

    async def nothing() -> Any:
        return {}

    pairs = [(name.encode(), value.encode()) for name, value in {"host": "127.0.0.1:7860", **headers}.items()]
    asyncio.run(closed(page)({"type": "http", "path": path, "headers": pairs}, nothing, take))  # type: ignore[arg-type]
    found: dict[str, Any] = sent[0]
    return found


@pytest.mark.parametrize(
    "path", ["/", "/assets/index.js", "/gradio_api/queue/join", "/gradio_api/upload", "/gradio_api/file=/tmp/a"]
)
def test_the_page_gets_what_it_needs_and_asks_nobody_else(path: str) -> None:
    found = answer(path, origin="http://localhost:7860")
    assert found["status"] == 200
    assert found["headers"][0][1].startswith(b"default-src 'self'")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/gradio_api/info", {}),
        ("/gradio_api/openapi.json", {}),
        ("/gradio_api/proxy=http://example.org", {}),
        ("/gradio_api/run/predict", {}),
        ("/monitoring", {}),
        ("/docs", {}),
        ("/", {"host": "evil.example"}),
        ("/gradio_api/upload", {"origin": "http://evil.example"}),
        ("/gradio_api/upload", {"origin": "null"}),
    ],
)
def test_all_else_is_refused(path: str, headers: dict[str, str]) -> None:
    assert answer(path, **headers)["status"] == 403
