"""
A network of your own
=====================

The prior of a fit is the network. Any module serves, so try another one: here one that sees where it is, and nothing else.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import skimage.data
from torch import nn

import hybrid_dip as hd

steps, side = 800, 64

# %%
# The network
# -----------
# It takes the numbers of channels and returns a module. Convolutions of 1x1 pixels see no neighbours: each pixel is a function
# of its place, which the latent says by waves of several frequencies. On the command line it is
# ``--network mine.py:coordinates:width=64 --latent fourier``.


def coordinates(in_channels, out_channels, width=128):
    """A network of places: a pixel does not see its neighbours."""
    layers = [nn.Conv2d(in_channels, width, 1), nn.ReLU()]
    for _ in range(3):
        layers += [nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(width, out_channels, 1), nn.Sigmoid())


# %%
# In place of the preset's
# ------------------------
# A recipe is a record, so ``replace`` changes what is to differ. All fits end when the residual has the size of the noise.
# ``pixels`` is no network at all, for comparison: each pixel is a parameter.

photo = hd.load_image(Path(skimage.data.__file__).with_name("astronaut.png"))
clean = photo[..., 88 : 88 + side, 192 : 192 + side]
case = hd.degradations.noisy(clean, sigma=25 / 255)
recipe = replace(hd.presets.fast(case.task), runs=1, steps=steps)
waves = partial(hd.latents.fourier, frequencies=(1, 2, 4, 8))
plain = {"optimizer": hd.optimizers.adam, "lr": 0.01, "jitter": 0.0}
recipes = {
    "the preset's hourglass": recipe,
    "coordinates": replace(recipe, network=coordinates, latent=waves, **plain),
    "pixels": replace(recipe, network=hd.networks.pixels, **plain),
}
results = {name: hd.restore(case, preset=one) for name, one in recipes.items()}
for name, result in results.items():
    fit = result.fits[0]
    print(f"{name}: {result.parameters} parameters, {fit.steps} steps, ended by {fit.reason}")

# %%
# What each takes for an image
# ----------------------------
# Waves make the face, with ripples. The pixels have no prior: they stop half-way between grey and the noise.

shown = {"noisy": case.task.observation, **{name: result.image for name, result in results.items()}, "clean": clean}
figure, axes = plt.subplots(1, len(shown), figsize=(13, 3.2), layout="constrained")
for axis, (name, image) in zip(axes, shown.items(), strict=True):
    axis.imshow(image[0].permute(1, 2, 0).clamp(0, 1))
    axis.set_title(name if image is clean else f"{name}\n{hd.metrics.psnr(image, clean):.2f} dB")
    axis.axis("off")
plt.show()
