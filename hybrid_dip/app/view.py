"""The right side of the page: pictures with a divider, the iterates, how it goes, and what is kept."""

import html
from typing import Any

import gradio as gr

from hybrid_dip.app import drawings
from hybrid_dip.app.form import pixels
from hybrid_dip.app.session import Session

NOTHING = "<p class='about'>Drop an image or take a sample; the restoration is then shown here.</p>"


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
        self.outputs = [self.pictures, self.ends, self.at, self.curves, self.progress, self.stop, self.go_on, self.keep]
        self.outputs += [self.runs, self.against, self.kept, self.command, self.picture, self.archive, self.timer]

    def show(self, session: Session, *, following: bool = False) -> list[Any]:
        """What is to be seen.

        Args:
            session: What the page has open.
            following: Whether time has passed and nothing else: a picture that the user holds stays.
        """
        run = session.watched
        titles = gr.Radio([one.title for one in session.runs], value=run and run.title, visible=bool(session.runs))
        if run is None:
            picture = None if session.preview is None else (pixels(session.preview),) * 2
            ends = NOTHING if picture is None else "<div class='ends'><span>the degraded image</span></div>"
            hidden = [gr.Slider(visible=False), "", "", *(gr.Button(visible=False) for _ in range(3))]
            return [picture, ends, *hidden, titles, *_hidden(), gr.Timer(active=any(one.active for one in session.runs))]
        held, count, kept = following and session.at is not None, session.count, session.kept_of(run)
        pictures, ends, curves = self.look(session)
        return [
            gr.skip() if held else pictures,
            ends,
            gr.Slider(maximum=max(1, count - 1), visible=count > 1, **({} if held else {"value": session.number})),
            curves,
            drawings.progress(run, session.queue.before(run) if run.state == "waiting" else 0),
            gr.Button(visible=run.active),
            gr.Button(visible=run.state == "stopped"),
            gr.Button(visible=count > 0),
            titles,
            gr.Dropdown(session.others(), value=session.against, visible=True),
            *(_hidden()[1:] if kept is None else _kept(kept)),
            gr.Timer(active=run.active),
        ]

    def look(self, session: Session) -> list[Any]:
        """The pictures, what they are, and the curves: values of :attr:`looked_at`."""
        assert session.watched is not None
        left, right = session.pictures()
        ends = "".join(f"<span>{html.escape(title)}</span>" for title, _ in (left, right))
        curves = drawings.curves(session.watched, session.number)
        return [(pixels(left[1]), pixels(right[1])), f"<div class='ends'>{ends}</div>", curves]


def _hidden() -> list[Any]:
    return [gr.Dropdown(visible=False), "", gr.Textbox(visible=False), *(gr.DownloadButton(visible=False) for _ in range(2))]


def _kept(kept: Any) -> list[Any]:
    label = "the result" if kept.label == "result" else kept.label
    return [
        f"Kept: <b>{html.escape(label)}</b>. {html.escape(kept.note)}",
        gr.Textbox(kept.command, visible=True),
        gr.DownloadButton(value=str(kept.picture), visible=True),
        gr.DownloadButton(value=str(kept.archive), visible=True),
    ]
