"""
Your own prior in ten lines
===========================

A prior is a function of an image whose result is small for images that you believe in. Nothing has to be registered.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import skimage.data

import hybrid_dip as hd

steps, side = 250, 64

# %%
# The prior
# ---------
# The mean squared Laplacian is small where the image is flat or a slope. The same function serves on the command line, as
# ``-R mine.py:laplacian@1``.


def laplacian(x):
    """Mean squared 5-point Laplacian: (1, C, H, W) -> ()."""
    lap = x[..., 2:, 1:-1] + x[..., :-2, 1:-1] + x[..., 1:-1, 2:] + x[..., 1:-1, :-2] - 4 * x[..., 1:-1, 1:-1]
    return lap.square().mean()


# %%
# With it and without
# -------------------
# A term is a prior with its weight. Terms add up, so yours stands beside those of the package. All fits take all steps, so that
# only a prior keeps them from the noise.

photo = hd.load_image(Path(skimage.data.__file__).with_name("chelsea.png"))
clean = photo[..., 80 : 80 + side, 136 : 136 + side]
case = hd.degradations.noisy(clean, sigma=50 / 255)
arms = {
    "no prior": (),
    "laplacian, 1": hd.Term(laplacian, 1),
    "laplacian, 50": hd.Term(laplacian, 50),
    "laplacian and TV": hd.Term(laplacian, 0.05) + 0.05 * hd.TV(),
}
how = {"preset": "fast", "runs": 1, "steps": steps, "rule": hd.stopping.MaxSteps()}
results = {name: hd.restore(case, regularisers=terms, **how) for name, terms in arms.items()}

# %%
# Without a prior the noise is there again. With a large weight the image is too smooth.

shown = {"noisy": case.task.observation, **{name: result.image for name, result in results.items()}}
figure, axes = plt.subplots(1, len(shown), figsize=(13, 3.2), layout="constrained")
for axis, (name, image) in zip(axes, shown.items(), strict=True):
    axis.imshow(image[0].permute(1, 2, 0).clamp(0, 1))
    axis.set_title(f"{name}\n{hd.metrics.psnr(image, clean):.2f} dB")
    axis.axis("off")
plt.show()

# %%
# How hard each part pulls
# ------------------------
# The history says how large the gradient of each part was, at the image. So you see whether a weight matters at all.

history = results["laplacian and TV"].fits[0].history
figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
for part in ("fidelity", "laplacian", "tv"):
    axis.semilogy([row["step"] for row in history], [row[f"gradient_{part}"] for row in history], label=part)
axis.set(xlabel="step", title="norm of the gradient")
figure.legend(loc="outside right upper")
plt.show()
