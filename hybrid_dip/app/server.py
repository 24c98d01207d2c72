"""Serves the page on this machine only, and lets it ask for nothing outside."""

import os
import socket
import tempfile
from collections.abc import Callable
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


def allowed(host: str, origin: str | None, path: str) -> bool:
    """Whether a request is one of the page itself, and not of another site that a browser on this machine shows.

    Args:
        host: The request's header of that name.
        origin: The same; None where there is none.
        path: The path that it asks for.

    Returns:
        The answer.
    """
    own = urlsplit(f"//{host}").hostname in NAMES and origin in (None, f"http://{host}")
    first, _, rest = path.strip("/").partition("/")
    needed = rest.partition("/")[0] in OPEN_API or rest.startswith("file=") if first == "gradio_api" else first in OPEN
    return own and needed


def serve(port: int | None, say: Callable[[str], object]) -> None:
    """Serve the page until Ctrl-C.

    Args:
        port: The port; None for the first that is free from 7860 on, 0 for any.
        say: Takes a sentence with the address.

    Raises:
        SettingsError: Gradio is not installed, or the port cannot be had.
    """
    place, queue = _listen(port), Queue()
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
        import uvicorn
        from fastapi import FastAPI
    except ImportError:
        raise SettingsError("The page needs Gradio: pip install 'hybrid-dip[app]'.") from None
    from hybrid_dip.app.page import make_page
    from hybrid_dip.app.style import CSS, theme

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    number = place.getsockname()[1]
    off = dict.fromkeys(("run_history", "ssr_mode", "mcp_server", "show_error"), False)
    with tempfile.TemporaryDirectory(prefix="hybrid-dip-page-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        gradio.mount_gradio_app(app, make_page(queue), "/", HOST, number, theme=theme(), css=CSS, footer_links=[], **off)
        say(f"Open http://{HOST}:{number} in a browser on this machine; Ctrl-C ends it.")
        try:
            uvicorn.Server(uvicorn.Config(_closed(app), log_level="warning", timeout_graceful_shutdown=1)).run([place])
        except KeyboardInterrupt:
            say("Ended.")
        finally:
            queue.close()


def _closed(app: Any) -> Any:
    """The same ASGI application, which answers what is allowed, and by whose policy the browser asks for nothing outside."""
    from starlette.datastructures import Headers, MutableHeaders
    from starlette.responses import PlainTextResponse

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        async def with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["content-security-policy"] = POLICY
            await send(message)

        headers = Headers(scope=scope) if scope["type"] == "http" else None
        if headers is None or allowed(headers.get("host", ""), headers.get("origin"), scope["path"]):
            await app(scope, receive, with_policy)
        else:
            await PlainTextResponse("This is not open.", 403)(scope, receive, send)

    return answer


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
