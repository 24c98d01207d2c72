"""
Noise impedance: how much of the prior is in the network
========================================================

A network that fits a photograph sooner than the same pixels in random order prefers photographs. How much sooner says how much
of a prior it is. This is figure 2 of the Deep Image Prior, with one number for it.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import skimage.data

import hybrid_dip as hd
from hybrid_dip.study.ready_made.impedance import area

steps, side = 200, 48

# %%
# Four things to fit
# ------------------
# The photograph, the photograph with noise, its pixels in random order, and noise.

photo = hd.load_image(Path(skimage.data.__file__).with_name("coffee.png"))
clean = photo[..., 200 : 200 + side, 310 : 310 + side]
targets = {name: hd.degradations.stand_in(clean, target=name) for name in ("image", "noisy", "shuffled", "noise")}

figure, axes = plt.subplots(1, len(targets), figsize=(10, 2.8), layout="constrained")
for axis, (name, case) in zip(axes, targets.items(), strict=True):
    axis.imshow(case.task.observation[0].permute(1, 2, 0))
    axis.set_title(name)
    axis.axis("off")
plt.show()

# %%
# Two networks
# ------------
# One hourglass with its skip connections and one without. No jitter and no average, which would blur what is measured.

networks = {"with skips": hd.presets.LEAN, "without skips": partial(hd.presets.LEAN, skip=(0,) * 5)}
curves = {}
for name, network in networks.items():
    for target, case in targets.items():
        recipe = replace(hd.presets.quick(case.task), network=network, jitter=0.0, average=None, steps=steps)
        history = hd.restore(case.task, preset=recipe, log_every=1).fits[0].history
        curves[name, target] = np.array([row["fidelity"] for row in history]) / float(case.reference.var(correction=0))

# %%
# The gap between the curves
# --------------------------
# The impedance is the area between the curves of the image and of its shuffled pixels, over the logarithm of the step. It is 0
# where the arrangement of the pixels does not matter. Without the skips the gap is wider.

figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True, layout="constrained")
numbers = np.arange(10, steps)
for axis, name in zip(axes, networks, strict=True):
    for target in targets:
        axis.plot(curves[name, target], label=target)
    impedance = area(numbers.astype(float), curves[name, "image"][10:], curves[name, "shuffled"][10:])
    axis.fill_between(numbers, curves[name, "image"][10:], curves[name, "shuffled"][10:], color="0.9")
    axis.set(title=f"{name}: impedance {impedance:.2f}", xlabel="step", xscale="log", xlim=(5, steps), ylim=(0, 1.5))
    axis.legend()
axes[0].set_ylabel("squared error / variance")
plt.show()

# %%
# ``hybrid-dip impedance photo.png --network skip --network mine.py:Plain -o out`` does the same for networks of yours.
# Experiment 005 has nine networks and six images.
