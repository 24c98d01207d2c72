"""
The Deep Image Prior, and how it overfits
=========================================

A network that has seen no image at all is fitted to one noisy photograph. On the way to the noise it passes a clean image.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import skimage.data

import hybrid_dip as hd

steps, side = 1500, 64

# %%
# A photograph with noise
# -----------------------
# The noise is Gaussian, of sigma 25 on the scale 0 to 255. In Python all is on the scale 0 to 1.

photo = hd.load_image(Path(skimage.data.__file__).with_name("astronaut.png"))
clean = photo[..., 88 : 88 + side, 192 : 192 + side]
case = hd.degradations.noisy(clean, sigma=25 / 255)

# %%
# The fit
# -------
# ``quick`` has the settings of the original with a leaner network; ``preset="original"`` takes the original's own, and more
# time. The image is an average of the network's outputs, as in the original. The fit sees the noisy image only. A case brings
# the clean one along, and the result the PSNR on the way. The album keeps the image now and then.

album = {}


def keep(step):
    """Keep the image at the steps that are logged."""
    if step.logged:
        album[step.index] = step.candidate


result = hd.restore(case, preset="quick", steps=steps, hooks=lambda fit: hd.FitHooks([keep]))
best = max(result.psnr, key=result.psnr.get)
print(f"noisy {hd.metrics.psnr(case.task.observation, clean):.2f} dB")
print(f"best {result.psnr[best]:.2f} dB, at step {best}")
print(f"last {hd.metrics.psnr(result.image, clean):.2f} dB")

# %%
# The image comes before the noise
# --------------------------------
# The loss falls all the way, because the network can fit the noise as well. The PSNR does not: it rises, and then it falls.

rows = result.fits[0].history
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
left.semilogy([row["step"] for row in rows], [row["loss"] for row in rows])
left.set(title="loss: how far the output is from y", xlabel="step")
right.plot(list(result.psnr), list(result.psnr.values()))
right.axvline(best, color="grey", linestyle=":")
right.set(title=f"PSNR, best at step {best}", xlabel="step", ylabel="dB")
plt.show()

# %%
# The image on the way: first too smooth, then much like the photograph, at last with a part of the noise.

early = list(album)[len(album) // 6]
shown = {"noisy": case.task.observation, **{f"step {step}": album[step] for step in (early, best, max(album))}, "clean": clean}
figure, axes = plt.subplots(1, len(shown), figsize=(12, 2.9), layout="constrained")
for axis, (title, image) in zip(axes, shown.items(), strict=True):
    axis.imshow(image[0].permute(1, 2, 0).clamp(0, 1))
    axis.set_title(title if image is clean else f"{title}: {hd.metrics.psnr(image, clean):.2f} dB")
    axis.axis("off")
plt.show()

# %%
# Only the clean image could name the best step. The page on stopping rules looks for a good one without it.

# sphinx_gallery_thumbnail_number = 2
