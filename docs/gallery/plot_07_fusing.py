"""
Fusing priors, with a map of weights for each
=============================================

A prior may be right in one part of an image and wrong in another. A stack restores with each, and lets data that no fit has
seen say how much of each pixel comes from which.
"""

from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import skimage.data

import hybrid_dip as hd

steps, side = 300, 96

# %%
# A guide that is half wrong
# --------------------------
# The image is very noisy. There is a clean photograph of the scene, from another time: on the right something else was there.

photo = hd.load_image(Path(skimage.data.__file__).with_name("coffee.png"))
clean = photo[..., 180 : 180 + side, 300 : 300 + side]
guide = clean.clone()
guide[..., side // 2 :] = photo[..., 180 : 180 + side, 100 : 100 + side // 2]
case = hd.degradations.noisy(clean, sigma=50 / 255)

# %%
# Three arms
# ----------
# The network alone, with total variation, and with the guide. A known noise level lets the coupled bootstrap judge: each arm is
# also fitted to noisier data, and tried on data that are independent of them.

recipe = replace(hd.presets.fast(case.task), runs=1, steps=steps)
arms = [
    hd.fusion.Arm("network", recipe),
    hd.fusion.Arm("network and TV", recipe, hd.Terms([hd.Term(hd.TV(), hd.schedules.Balanced(0.3))])),
    hd.fusion.Arm("network and guide", recipe, hd.Terms([3 * hd.regularisers.GuidePixels(guide)])),
]
stacked = hd.fusion.stack(case.task, arms)
for name, weight in stacked.weights.items():
    print(f"{name}: {weight:.2f} of the stack")

# %%
# What each arm makes, and the stack of them
# ------------------------------------------
# The fit with the guide is the worst, and yet the stack gains by it: on the left the guide is right.

shown = {"noisy": case.task.observation, "guide": guide}
shown |= {name: result.image for name, result in stacked.arms.items()} | {"stack": stacked.image}
figure, axes = plt.subplots(2, 3, figsize=(9, 6.8), layout="constrained")
for axis, (name, image) in zip(axes.flat, shown.items(), strict=True):
    axis.imshow(image[0].permute(1, 2, 0).clamp(0, 1))
    axis.set_title(f"{name}: {hd.metrics.psnr(image, clean):.2f} dB")
    axis.axis("off")
plt.show()

# %%
# Where each has its weight
# -------------------------
# Maps are taken only where cross-validation says that they are better than one weight for each image. Here it does, and the
# guide counts on the left only.

maps = stacked.combination.maps
maps = [weight.expand(side, side) for weight in stacked.combination.weights[:, None]] if maps is None else maps
figure, axes = plt.subplots(1, 3, figsize=(9, 3.1), layout="constrained")
for axis, arm, weights in zip(axes, arms, maps, strict=True):
    drawn = axis.imshow(weights, vmin=0, vmax=1)
    axis.set_title(f"weight of {arm.name}")
    axis.axis("off")
figure.colorbar(drawn, ax=axes)
plt.show()
