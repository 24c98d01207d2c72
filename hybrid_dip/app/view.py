"""The right side of the page: pictures with a divider, the iterates, how it goes, and what is kept."""

import html
from itertools import zip_longest
from typing import Any

import gradio as gr

from hybrid_dip.app import drawings
from hybrid_dip.app.form import pixels
from hybrid_dip.app.session import Session

NOTHING = "<span class='about'>Drop an image or take a sample; the restoration is then shown here.</span>"


class View:
    """The components, made within a ``gr.Blocks``.

    Attributes:
        outputs: All of them, in the order of :meth:`show`.
        looked_at: Those that change while the iterates are dragged through.
    """

    def __init__(self) -> None:
        with gr.Row():
            self.runs = gr.Radio([], label="Restorations", visible=False, elem_id="runs", scale=2, min_width=280)
            self.against = gr.Dropdown(
                ["degraded"], value="degraded", label="Left of the divider", visible=False, min_width=160
            )
        self.ends = gr.HTML(NOTHING, elem_id="ends")
        self.pictures = gr.ImageSlider(
            format="png", interactive=False, show_label=False, buttons=["fullscreen"], max_height=440, elem_id="pictures"
        )
        self.at = gr.Slider(0, 1, step=1, label="Iterates: drag, and keep the one that looks best", visible=False, elem_id="at")
        with gr.Row():
            self.stop = gr.Button("Stop", visible=False)
            self.go_on = gr.Button("Go on", visible=False)
            self.keep = gr.Button("Keep this picture", visible=False)
        self.progress = gr.HTML(elem_id="progress")
        self.curves = gr.HTML()
        self.kept = gr.HTML(elem_id="kept")
        self.command = gr.Textbox(
            label="The command that repeats it", buttons=["copy"], visible=False, lines=2, interactive=False
        )
        with gr.Row():
            self.picture = gr.DownloadButton("Download the picture", visible=False)
            self.archive = gr.DownloadButton("Picture, command and files (zip)", visible=False)
        self.timer = gr.Timer(1.0, active=False)
        self.looked_at = [self.pictures, self.ends, self.curves]
        self.outputs = [*self.looked_at, self.progress, self.at, self.stop, self.go_on, self.keep, self.runs, self.against]
        self.outputs += [self.kept, self.command, self.picture, self.archive, self.timer]

    def show(self, session: Session, *, following: bool = False) -> list[Any]:
        """What is to be seen: values of :attr:`outputs`.

        Args:
            session: What the page has open.
            following: Whether time has passed and nothing else: then only what has changed is sent, and open lists stay open.
        """
        seen = self._seen(session)
        before, session.seen = session.seen if following else [], seen
        sent = [gr.skip() if new == old else new for new, old in zip_longest(seen, before)]
        return sent if sent[0] is not seen[0] else [*self.look(session), *sent[3:]]

    def look(self, session: Session) -> list[Any]:
        """The pictures, what they are, and the curves: values of :attr:`looked_at`."""
        pictures = session.pictures()
        ends = "".join(f"<span>{html.escape(title)}</span>" for title, _ in pictures)
        shown = [pixels(image) for _, image in pictures]
        both = (shown[0], shown[-1]) if shown else None
        return [both, f"<div class='ends'>{ends or NOTHING}</div>", drawings.curves(session.watched, session.number)]

    def _seen(self, session: Session) -> list[Any]:
        """Values of all outputs; instead of pictures, what tells them from others."""
        run, count = session.watched, session.count
        kept = None if run is None else session.kept_of(run)
        follow = {"value": session.number} if session.at is None else {}
        return [
            (session.title, session.iterate or (run and run.state), session.against, id(session.preview)),
            gr.skip(),
            drawings.curves(run, session.number),
            drawings.progress(run, session.queue),
            gr.update(maximum=max(1, count - 1), visible=count > 1, **follow),
            gr.update(visible=run is not None and run.active),
            gr.update(visible=run is not None and run.state == "stopped"),
            gr.update(visible=count > 0),
            gr.update(choices=[one.title for one in session.runs], value=session.title, visible=bool(session.runs)),
            gr.update(choices=session.others(), value=session.against, visible=run is not None),
            f"Kept: <b>{html.escape(kept.label)}</b>. {html.escape(kept.note)}" if kept is not None else "",
            gr.update(value=kept and kept.command, visible=kept is not None),
            gr.update(value=kept and str(kept.picture), visible=kept is not None),
            gr.update(value=kept and str(kept.archive), visible=kept is not None),
            gr.update(active=any(one.active for one in session.runs)),
        ]
