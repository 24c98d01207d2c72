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
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
        import uvicorn
        from fastapi import FastAPI
        from fastapi.responses import PlainTextResponse
    except ImportError:
        raise SettingsError("The page needs Gradio: pip install 'hybrid-dip[app]'.") from None
    from hybrid_dip.app.page import make_page
    from hybrid_dip.app.style import CSS, theme

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    async def close(request: Any, go_on: Any) -> Any:
        if not allowed(request.headers.get("host", ""), request.headers.get("origin"), request.url.path):
            return PlainTextResponse("This is not open.", 403)
        response = await go_on(request)
        response.headers["content-security-policy"] = POLICY
        return response

    app.middleware("http")(close)
    place, queue = _listen(port), Queue()
    number = place.getsockname()[1]
    off: dict[str, Any] = {
        "footer_links": [],
        "run_history": False,
        "ssr_mode": False,
        "mcp_server": False,
        "show_error": False,
    }
    with tempfile.TemporaryDirectory(prefix="hybrid-dip-page-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        gradio.mount_gradio_app(app, make_page(queue), "/", HOST, number, theme=theme(), css=CSS, **off)
        say(f"Open http://{HOST}:{number} in a browser on this machine; Ctrl-C ends it.")
        try:
            uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)).run([place])
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
