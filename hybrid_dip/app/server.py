"""Serves the page on this machine only, and lets it ask for nothing outside."""

import os
import socket
import tempfile
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from hybrid_dip.app.run import Queue
from hybrid_dip.errors import SettingsError

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
OPEN = ("", "config", "theme.css", "favicon.ico", "manifest.json", "static", "assets", "svelte")
"""First parts of the paths that the page needs."""
OPEN_API = ("queue", "upload", "upload_progress", "heartbeat", "startup-events", "app_id")
"""Those under /gradio_api, and files."""
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'; form-action 'self'"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def closed(app: App) -> App:
    """Refuse what the page does not need, and other sites that a browser on this machine shows.

    Args:
        app: What serves the page.

    Returns:
        The same, behind a check of host, origin and path, and with a policy by which the browser asks for nothing outside.
    """

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return

        async def with_policy(message: Scope) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"content-security-policy", POLICY.encode())]
            await send(message)

        if _allowed({name.decode(): value.decode("latin-1") for name, value in scope["headers"]}, scope["path"]):
            await app(scope, receive, with_policy)
        else:
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"This is not open."})

    return serve


def _allowed(headers: dict[str, str], path: str) -> bool:
    places = [f"//{headers.get('host', '')}", *([headers["origin"]] if "origin" in headers else [])]
    if any(urlsplit(place).hostname not in NAMES for place in places):
        return False
    first, _, rest = path.strip("/").partition("/")
    return rest.partition("/")[0] in OPEN_API or rest.startswith("file=") if first == "gradio_api" else first in OPEN


def serve(port: int | None, say: Callable[[str], object]) -> None:
    """Serve the page until Ctrl-C.

    Args:
        port: The port; None for the first that is free from 7860 on, 0 for any.
        say: Takes a sentence with the address.

    Raises:
        SettingsError: Gradio is not installed, or the port cannot be had.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
        import uvicorn
        from fastapi import FastAPI
    except ImportError:
        raise SettingsError("The page needs Gradio: pip install 'hybrid-dip[app]'.") from None
    from hybrid_dip.app.page import make_page
    from hybrid_dip.app.style import CSS, theme

    place, queue = _listen(port), Queue()
    with tempfile.TemporaryDirectory(prefix="hybrid-dip-page-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        page = make_page(queue)
        app = gradio.mount_gradio_app(
            FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
            page,
            "/",
            server_name=HOST,
            server_port=place.getsockname()[1],
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            mcp_server=False,
            show_error=False,
            theme=theme(),
            css=CSS,
        )
        say(f"Open http://{HOST}:{place.getsockname()[1]} in a browser on this machine; Ctrl-C ends it.")
        config = uvicorn.Config(closed(app), log_level="warning", timeout_graceful_shutdown=1)
        try:
            uvicorn.Server(config).run([place])
        except KeyboardInterrupt:
            say("Ended.")
        finally:
            queue.close()


def _listen(port: int | None) -> socket.socket:
    for one in range(7860, 7960) if port is None else [port]:
        place = socket.socket()
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            place.bind((HOST, one))
        except (OSError, OverflowError):
            place.close()
        else:
            return place
    raise SettingsError(f"Port {port or '7860 to 7959'} cannot be had on {HOST}: choose another by --port.")
