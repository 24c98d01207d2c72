"""The left side of the page: the image, what is wrong with it, and how it is fitted."""

import inspect
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import torch
from torch import Tensor

from hybrid_dip.app import priors
from hybrid_dip.app.samples import SAMPLES
from hybrid_dip.app.session import Session
from hybrid_dip.errors import SettingsError
from hybrid_dip.images.figures import visible_channels
from hybrid_dip.images.files import load_image, save_image
from hybrid_dip.images.picture import quantise
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.recipes.spec import DEFAULT_WEIGHT

TASKS = {
    "noise": "denoise",
    "regions to fill in": "inpaint",
    "pixels missing": "missing-pixels",
    "too small": "super-resolve",
    "blur": "deblur",
    "JPEG artefacts": "jpeg",
}
"""What is wrong, in words -> task."""
PAINTER = "Paint over what is to be filled in"
PAINT, FILE, BLACK = "paint it here", "a file", "black pixels are missing"
WHITE = "White (255) or opaque is a known pixel, black or transparent is filled in."
MOST_PRIORS = 3


class Form:
    """The fields, made within a ``gr.Blocks``.

    Attributes:
        inputs: All of them, for an event.
        filled: Those that a sample fills in.
        sampled: Those of them that hold for no other image.
        shown: What shows the fields that a task has: function, inputs and outputs of an event.
    """

    def __init__(self) -> None:
        self.image = gr.File(label="Degraded image: drop a file", height=130)
        self.sample = gr.Dropdown(list(SAMPLES), label="... or take a sample", value=None)
        with gr.Row():
            self.task = gr.Dropdown(list(TASKS.items()), value="denoise", label="What is wrong with it", min_width=120)
            self.sigma = gr.Textbox(label="Noise (sigma, of 255)", placeholder="estimated", min_width=120)
            self.factor = gr.Textbox("4", label="How many times larger", visible=False, min_width=120)
            self.blur = gr.Textbox("1.5", label="Gaussian blur (pixels)", visible=False, min_width=120)
        self.psf = gr.File(label="... or its point spread function: a grey image or .npy", height=130, visible=False)
        self.source = gr.Radio([PAINT, FILE], value=PAINT, label="Which pixels", info=WHITE, visible=False)
        self.mask = gr.File(label="Mask", height=130, visible=False)
        brush = gr.Brush(default_size=6, colors=["#ff3b30"], color_mode="fixed")
        plain: dict[str, Any] = {"sources": [], "transforms": (), "layers": False, "buttons": [], "format": "png"}
        self.painter = gr.ImageEditor(label=PAINTER, brush=brush, visible=False, elem_id="painter", **plain)
        self.preset = gr.Dropdown(priors.offered_presets(), value="fast", label="Preset")
        self.priors, self.weights, formulas = [], [], []
        for number in range(MOST_PRIORS):
            with gr.Row(visible=number == 0) as row:
                names = [(f"{name} ({entry.family})", name) for name, entry in priors.offered_priors().items()]
                label = f"Prior {number + 1}"
                self.priors.append(gr.Dropdown([("none", ""), *names], value="", label=label, scale=3, min_width=150))
                self.weights.append(gr.Textbox(DEFAULT_WEIGHT, label="Weight", max_lines=1, scale=2, min_width=100))
            formulas.append(gr.HTML(visible=False))
            if number:
                self._follow(number - 1, formulas[number - 1], row)
        self._follow(MOST_PRIORS - 1, formulas[-1], None)
        with gr.Accordion("More", open=False):
            with gr.Row():
                self.steps = gr.Textbox(label="Steps", placeholder="the preset's", min_width=90)
                self.runs = gr.Textbox(label="Fits averaged", placeholder="the preset's", min_width=90)
            with gr.Row():
                self.seed = gr.Textbox("0", label="Seed", min_width=90)
                self.crop = gr.Textbox(label="Centre only (pixels)", placeholder="the whole", min_width=90)
            self.clean = gr.File(label="Clean image, if there is one", height=170)
        fields = [self.task, self.source]
        shown = [self.sigma, self.factor, self.blur, self.psf, self.source, self.mask, self.painter]
        for field in fields:
            field.input(_shown, fields, shown, show_progress="hidden", api_visibility="private")
        self.shown = (_shown, fields, shown)
        self.filled = [self.image, self.mask, self.clean, *fields, self.sigma, self.factor, self.blur]
        self.sampled = [self.sample, self.mask, self.clean]
        self.inputs = {self.image, *fields, self.sigma, self.factor, self.blur, self.psf, self.mask, self.painter, self.preset}
        self.inputs |= {*self.priors, *self.weights, self.steps, self.runs, self.seed, self.crop, self.clean}

    def _follow(self, number: int, formula: gr.HTML, following: gr.Row | None) -> None:
        """Show the formula of a prior that is chosen, and the row of the next one."""
        entries = priors.offered_priors()

        def chosen(name: str) -> Any:
            shown = gr.HTML(priors.as_html(entries.get(name)), visible=bool(name))
            return [shown, *([] if following is None else [gr.Row(visible=bool(name))])]

        outputs = [formula, *([] if following is None else [following])]
        self.priors[number].input(chosen, self.priors[number], outputs, show_progress="hidden", api_visibility="private")

    def take_sample(self, session: Session, name: str) -> Sequence[Any]:
        """Fill in the form for a sample: values of :attr:`filled`."""
        sample = SAMPLES[name]
        files = {what: str(path) for what, path in sample.write(Path(tempfile.mkdtemp(dir=session.scratch))).items()}
        session.sampled = True
        known = {"sigma": "", "factor": 4, "psf": "gaussian:1.5", **sample.known}
        numbers = [str(known[option]).removeprefix("gaussian:") for option in ("sigma", "factor", "psf")]
        return [files["image"], files.get("mask"), files["clean"], sample.task, FILE, *numbers]

    def forget_sample(self, session: Session) -> Sequence[Any]:
        """Leave out what belongs to a sample, where another image was given: values of :attr:`sampled`."""
        sampled, session.sampled = session.sampled, False
        return [None if sampled else gr.skip() for _ in self.sampled]

    def files(self, values: Mapping[Any, Any], folder: Path) -> dict[str, Path | None]:
        """The files of a restoration; a mask that was painted, or is seen in the image, is written into a folder."""
        takes = options_of(values[self.task])
        given = {
            "image": values[self.image],
            "psf": values[self.psf],
            "mask": values[self.mask],
            "reference": values[self.clean],
        }
        if "mask" in takes and given["image"] is not None and values[self.source] != FILE:
            black = values[self.source] == BLACK
            known = (load_image(given["image"]) > 0).any(1, keepdim=True).float() if black else painted(values[self.painter])
            given["mask"] = folder / "mask.png"
            save_image(known, given["mask"])
        return {name: file for name, file in given.items() if name in ("image", "reference", *takes)}

    def asked(self, values: Mapping[Any, Any]) -> dict[str, Any]:
        """What is asked for, but for the files."""
        takes = options_of(values[self.task])
        fields = {"sigma": self.sigma, "factor": self.factor, "steps": self.steps, "runs": self.runs, "seed": self.seed}
        given = {name: read_number(name, values[field]) for name, field in {**fields, "crop": self.crop}.items()}
        options: dict[str, Any] = {name: given.pop(name) for name in ("sigma", "factor")}
        options["psf"] = f"gaussian:{values[self.blur]}" if values[self.psf] is None else None  # a file says it better
        chosen = [(values[name], values[weight]) for name, weight in zip(self.priors, self.weights, strict=True)]
        return {
            "task": values[self.task],
            "options": {name: value for name, value in options.items() if name in takes},
            "preset": values[self.preset],
            "priors": tuple(priors.prior_spec(name, weight) for name, weight in chosen if name),
            **given,
            "seed": given["seed"] or 0,
        }


def read_number(name: str, text: str | None) -> float | None:
    """Read a number, None of an empty field; raises SettingsError where it is none."""
    try:
        return float(text) if text and text.strip() else None
    except ValueError:
        raise SettingsError(f"'{name}' must be a number, got '{text}'.") from None


def options_of(task: str) -> list[str]:
    """The options that a task takes."""
    return list(inspect.signature(catalogue().get("tasks", task)).parameters)


def _shown(task: str, source: str) -> list[Any]:
    """Show the fields that a task has."""
    takes, choices = options_of(task), [FILE, BLACK] if task == "missing-pixels" else [PAINT, FILE]
    source, masked = source if source in choices else choices[0], "mask" in takes
    hint = "estimated" if task == "denoise" else "not given"
    fields = [gr.Textbox(visible="sigma" in takes, placeholder=hint)]
    fields += [gr.Textbox(visible=name in takes) for name in ("factor", "psf")]
    fields += [gr.File(visible="psf" in takes), gr.Radio(choices, value=source, visible=masked)]
    return [*fields, gr.File(visible=masked and source == FILE), gr.ImageEditor(visible=masked and source == PAINT)]


def painted(value: Mapping[str, Any] | None) -> Tensor:
    """The mask that was painted, (1, 1, H, W), 0 where there is paint; raises SettingsError where there is none."""
    layers = [] if value is None else value["layers"]
    paint = np.any([layer[..., 3] > 0 for layer in layers], axis=0) if layers else np.zeros((1, 1), bool)
    if not paint.any():
        raise SettingsError("Nothing is painted yet: paint over what is to be filled in, or give a file.")
    return torch.from_numpy(~paint)[None, None].float()


def pixels(image: Tensor) -> np.ndarray[Any, Any]:
    """A picture for the page, (H, W, 3) of bytes."""
    return np.broadcast_to(quantise(visible_channels(image)), (*image.shape[-2:], 3))
