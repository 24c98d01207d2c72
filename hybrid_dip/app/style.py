"""How the page looks: fonts that are on the machine, calm colours, and pictures whose pixels stay sharp."""

from typing import Any

import gradio as gr

CSS = """
#pictures img { image-rendering: pixelated; }
.gradio-container .column { gap: 10px; }
h1 { display: inline; font-size: 20px; margin-right: 1em; }
.ends { display: flex; justify-content: space-between; gap: 1em; font-variant-numeric: tabular-nums; }
.ends span:last-child:not(:first-child) { text-align: right; }
.formula { font: 12px/1.5 ui-monospace, monospace; white-space: pre-wrap; margin: 0; }
.about { color: var(--body-text-color-subdued); margin: 2px 0; }
.progress .bar { display: grid; grid-template-columns: 4em minmax(3em, 1fr) minmax(9em, 15em); gap: 1em; align-items: center; }
.progress .track { height: 8px; border-radius: 4px; background: var(--border-color-primary); }
.progress .track div { height: 8px; border-radius: 4px; background: var(--color-accent); }
.wrong { color: var(--error-text-color); font-weight: 600; }
.curves figure { display: grid; grid-template-columns: 4.5em 1fr; margin: 6px 0; font-size: 12px; }
.curves figcaption { grid-column: 1 / 3; }
.curves figure > div { display: flex; flex-direction: column; justify-content: space-between; }
.curves svg { width: 100%; height: 80px; border: 1px solid var(--border-color-primary); overflow: visible; }
.curves polyline { fill: none; stroke: var(--color-accent); stroke-width: 1.5; vector-effect: non-scaling-stroke; }
.curves line { stroke: currentColor; vector-effect: non-scaling-stroke; }
.curves line.seed { stroke: var(--body-text-color-subdued); stroke-dasharray: 3 3; }
"""


def theme() -> Any:
    """Gradio's plain theme, with fonts that need no download."""
    return gr.themes.Default(
        primary_hue="blue", neutral_hue="slate", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    )
