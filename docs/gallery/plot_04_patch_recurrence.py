"""
Patch recurrence: the image as its own example
==============================================

Small patches of a photograph come again in it, at the same size and smaller. This is a prior that needs no training either.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import skimage.data
from matplotlib.patches import Rectangle
from torch.nn.functional import avg_pool2d

import hybrid_dip as hd

steps, side = 500, 96

# %%
# What comes again
# ----------------
# ``NonLocal`` compares each patch with those nearest to it, in the image and in its half-sized self. Here are three patches
# (thick) and the nearest ones of each (thin).

photo = hd.load_image(Path(skimage.data.__file__).with_name("brick.png"))
clean = avg_pool2d(photo, 2)[..., :side, :side]
prior = hd.regularisers.NonLocal(size=7, neighbours=8, queries=side**2)
seen = prior.remember(clean, 0, {})


def place(index):
    """Where a patch begins: its panel, row and column. Indices count the pixels of the image, then those of its half."""
    inside = int(index) < clean.numel()
    width = side if inside else side // 2
    return (0 if inside else 1, *divmod(int(index) - (0 if inside else clean.numel()), width))


figure, axes = plt.subplots(1, 2, figsize=(8, 4.2), layout="constrained")
axes[0].imshow(clean[0, 0], cmap="gray", vmin=0, vmax=0.8)
axes[1].imshow(avg_pool2d(clean, 2)[0, 0], cmap="gray", vmin=0, vmax=0.8)
for colour, row, column in (("red", 0.17, 0.4), ("lime", 0.5, 0.27), ("cyan", 0.75, 0.62)):
    query = int(row * side) * (side - 6) + int(column * side)
    for number, index in enumerate([seen["queries"][query, 0, 0], *seen["neighbours"][query, :, 0]]):
        panel, top, left = place(index)
        frame = Rectangle((left - 0.5, top - 0.5), 7, 7, fill=False, edgecolor=colour, linewidth=1 if number else 3)
        axes[panel].add_patch(frame)
axes[0].set_title("the image")
axes[1].set_title("half its size")
plt.show()

# %%
# As a prior
# ----------
# The wall is noisy. Each fit ends when the residual has the size of the noise, by the rule of the preset ``fast``.
# ``Balanced(1)`` gives a prior a pull on the scale of the noise, so that no weight has to be searched for. ``LowRank`` wants
# groups of alike patches to be of low rank. Both gain here. ``NonLocal`` also blurs some of the joints.

case = hd.degradations.noisy(clean, sigma=25 / 255)
arms = {
    "network alone": (),
    "with NonLocal": hd.Term(hd.regularisers.NonLocal(), hd.schedules.Balanced(1)),
    "with LowRank": hd.Term(hd.regularisers.LowRank(), hd.schedules.Balanced(1)),
}
results = {name: hd.restore(case.task, preset="fast", runs=1, regularisers=terms, steps=steps) for name, terms in arms.items()}
shown = {"noisy": case.task.observation, **{name: result.image for name, result in results.items()}, "clean": clean}
figure, axes = plt.subplots(1, len(shown), figsize=(13, 3.1), layout="constrained")
for axis, (name, image) in zip(axes, shown.items(), strict=True):
    axis.imshow(image[0, 0], cmap="gray", vmin=0, vmax=0.8)
    axis.set_title(name if image is clean else f"{name}\n{hd.metrics.psnr(image, clean):.2f} dB")
    axis.axis("off")
plt.show()
