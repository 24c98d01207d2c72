"""``hybrid-dip app``: a page in the browser to watch and steer a fit."""

from functools import partial
from typing import Annotated

from cyclopts import Parameter

from hybrid_dip.app.server import serve


def app(
    *, port: Annotated[int | None, Parameter(help="Port on 127.0.0.1; by default the first free one from 7860 on.")] = None
) -> None:
    """Open a page to watch and steer a fit, for a browser on this machine only."""
    serve(port, partial(print, flush=True))
