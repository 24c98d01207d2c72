"""
A fit as a reconstructor of DeepInverse
=======================================

`DeepInverse <https://deepinv.github.io>`_ has a Deep Image Prior of its own, ``deepinv.models.DeepImagePrior``. Ours has the
same interface: a model takes measurements ``y`` and a ``physics``. Here both fill in missing values, in as many steps.
"""

import time
from pathlib import Path

import deepinv
import matplotlib.pyplot as plt
import skimage.data
import torch
import torch.nn.functional as F

import hybrid_dip as hd

steps, side = 350, 64

# %%
# What was measured
# -----------------
# Half of the values of a photograph are missing, the rest has noise of deviation 0.05.

photo = hd.load_image(Path(skimage.data.__file__).with_name("astronaut.png"))
clean = F.interpolate(photo[..., :256, 96:352], (side, side), mode="area")
torch.manual_seed(0)
physics = deepinv.physics.Inpainting((3, side, side), mask=0.5, noise_model=deepinv.physics.GaussianNoise(0.05))
y = physics(clean)

# %%
# Three models
# ------------
# DeepInverse recommends its ``ConvDecoder`` for its prior; here it has 64 channels. Our first model is the preset ``quick``
# with nothing added. The second one adds total variation, at a weight that follows from the noise: it pulls 0.3 times as hard.

channels = 64
decoder = deepinv.models.ConvDecoder((3, side, side), channels=channels)
tv = hd.Term(hd.TV(), hd.schedules.Balanced(0.3))
models = {
    "deepinv's prior": deepinv.models.DeepImagePrior(decoder, (channels, 4, 4), iterations=steps),
    "HybridDIP": hd.deepinv.HybridDIP("quick", steps=steps, value_range=(0, 1)),
    "HybridDIP and TV": hd.deepinv.HybridDIP("quick", tv, steps=steps, value_range=(0, 1)),
}

# %%
# The same steps, with time
# -------------------------

shown = {"clean": clean, f"measured, {hd.metrics.psnr(y, clean):.2f} dB": y}
for name, model in models.items():
    started = time.perf_counter()
    image = model(y, physics).detach()
    seconds = time.perf_counter() - started
    shown[f"{name}\n{hd.metrics.psnr(image, clean):.2f} dB in {seconds:.0f} s"] = image

_, axes = plt.subplots(1, len(shown), figsize=(13, 3.4), layout="constrained")
for axis, (name, image) in zip(axes, shown.items(), strict=True):
    axis.imshow(image[0].permute(1, 2, 0).clamp(0, 1))
    axis.set_title(name)
    axis.axis("off")
plt.show()

# %%
# One image and one seed say little: for many there are studies (``hybrid-dip study``). The models differ in more than the
# network. Ours adds noise to its input at each step, and its network cannot leave [0, 1].
#
# With the history
# ----------------
# ``hd.deepinv.task`` makes a task of the same measurement, for all that ``hd.restore`` can do. From the physics it knows the
# level of the noise, and from the mask which values were measured.

task = hd.deepinv.task(y, physics, value_range=(0, 1))
print(f"noise of deviation {task.noise_sigma:.3f}; {int(task.measured)} of {y.numel()} values were measured")
history = hd.restore(task, preset="quick", regularisers=tv, steps=steps).fits[0].history

_, axis = plt.subplots(figsize=(6, 3), layout="constrained")
axis.semilogy([row["step"] for row in history], [row["fidelity"] for row in history], label="mean squared misfit")
axis.axhline(task.noise_sigma**2 * float(task.measured) / y.numel(), color="grey", label="that of the noise")
axis.set_xlabel("step")
axis.legend()
plt.show()
