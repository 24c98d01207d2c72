"""The page: both sides put together, and what happens when something is clicked."""

import html
import re
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from hybrid_dip.app.form import Form, pixels
from hybrid_dip.app.run import Queue
from hybrid_dip.app.session import Session
from hybrid_dip.app.view import View
from hybrid_dip.errors import HybridDIPError, describe_error
from hybrid_dip.images.reading import read_picture

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
HEAD = "<h1>hybrid_dip</h1> <span class='about'>Restore one image, watch the fit, and keep the picture that looks best.</span>"
MOST_PAGES = 20
"""Pages that are remembered; what the oldest had open goes first."""

Act = Callable[..., Sequence[Any]]


def make_page(queue: Queue) -> gr.Blocks:
    """Make the page.

    Args:
        queue: Where the restorations of all open pages take turns.

    Returns:
        The page, which is served by :mod:`hybrid_dip.app.server`.
    """
    sessions: dict[str, Session] = {}

    def session_of(request: gr.Request) -> Session:
        for oldest in list(sessions)[:-MOST_PAGES]:
            sessions.pop(oldest).close()
        return sessions.setdefault(str(request.session_hash), Session(queue))

    def closed(request: gr.Request) -> None:
        session_of(request).close()  # it can go on, where only the connection was lost

    with gr.Blocks(title="hybrid_dip", analytics_enabled=False, fill_width=True, delete_cache=(3600, 24 * 3600)) as page:
        gr.HTML(HEAD)
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=340):
                form = Form()
                begin = gr.Button("Restore", variant="primary", elem_id="restore")
                wrong = gr.HTML(elem_id="wrong")
            with gr.Column(scale=3, min_width=340):
                view = View()

        def on(event: Any, act: Act, inputs: Any = (), more: Sequence[Any] = view.outputs, well: Any = "", **how: Any) -> Any:
            outputs = [*more, wrong]
            return event(_plainly(act, session_of, len(more), well), inputs, outputs, **{**QUIET, **how})

        def begun(session: Session, values: Mapping[Any, Any]) -> Sequence[Any]:
            session.restore(form.files(values, session.scratch), **form.asked(values))
            return view.show(session)

        def previewed(session: Session, path: str | None) -> Sequence[Any]:
            session.watch(None)
            session.preview = None  # what is no picture leaves nothing to be seen
            session.preview = None if path is None else read_picture(path).pixels
            paint = (
                None if session.preview is None else {"background": pixels(session.preview), "layers": [], "composite": None}
            )
            return [paint, *view.show(session)]

        def dragged(session: Session, number: float) -> Sequence[Any]:
            session.look(number)
            return view.look(session)

        def ticked(session: Session) -> Sequence[Any]:
            return view.show(session, following=True)

        def after(act: Callable[..., object]) -> Act:
            def call(session: Session, *given: Any) -> Sequence[Any]:
                act(session, *given)
                return view.show(session)

            return call

        page.unload(closed)
        on(begin.click, begun, {*form.inputs}, show_progress="minimal")
        on(form.image.change, previewed, [form.image], [form.painter, *view.outputs])
        on(form.image.upload, form.forget_sample, (), form.sampled)
        on(form.sample.input, form.take_sample, [form.sample], form.filled).then(*form.shown, **QUIET)
        on(view.timer.tick, ticked, well=gr.skip())  # what was wrong before stays to be read
        on(view.at.input, dragged, [view.at], view.looked_at, trigger_mode="always_last")
        on(view.stop.click, after(Session.stop))
        on(view.go_on.click, after(Session.go_on))
        on(view.keep.click, after(Session.keep))
        on(view.runs.input, after(Session.watch), [view.runs])
        on(view.against.input, after(Session.compare), [view.against])
    return page


def _plainly(act: Act, session_of: Callable[[gr.Request], Session], outputs: int, well: Any) -> Callable[..., list[Any]]:
    """What happens, and one output more: a sentence where it goes wrong, without folders that the user has not chosen."""

    def call(request: gr.Request, *given: Any) -> list[Any]:
        try:
            return [*act(session_of(request), *given), well]
        except (HybridDIPError, OSError) as error:
            said = re.sub(rf"{re.escape(tempfile.gettempdir())}/\S*/", "", " ".join(str(error).split()))
        except Exception as error:
            traceback.print_exc()
            said = f"This failed, which is a fault of this program: {describe_error(error)}."
        return [*(gr.skip() for _ in range(outputs)), f"<p class='wrong' role='alert'>{html.escape(said)}</p>"]

    return call
