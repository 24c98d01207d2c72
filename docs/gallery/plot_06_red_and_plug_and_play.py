"""
A denoiser as a prior: RED and plug-and-play
============================================

A denoiser knows what images look like. In a fit it is a prior, by regularisation by denoising (RED). Plug-and-play needs no
fit: the denoiser and the observation take turns. The bundled denoiser was trained on photographs, and is in the package.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import skimage.data

import hybrid_dip as hd
import pretrained

steps, side = 300, 96

# %%
# Two tasks
# ---------
# One image is blurred and slightly noisy, the other is small.

photo = hd.load_image(Path(skimage.data.__file__).with_name("coffee.png"))
clean = photo[..., 180 : 180 + side, 300 : 300 + side]
cases = {
    "deblur": hd.degradations.blurred(clean, hd.operators.gaussian_psf(1.6), sigma=2.55 / 255),
    "enlarge 4 times": hd.degradations.downsampled(clean, factor=4),
}

# %%
# Three ways
# ----------
# The network alone has learnt nothing. RED adds the pull to what the denoiser makes of the estimate, looked at every ten steps.
# Plug-and-play is a preset.

red = hd.Term(hd.regularisers.RED(pretrained.load_denoiser()), hd.schedules.Balanced(1))
ways = {
    "network alone": {"preset": "fast", "runs": 1, "steps": steps},
    "network and RED": {"preset": "fast", "runs": 1, "steps": steps, "regularisers": red},
    "plug-and-play": {"preset": "plug-and-play:denoiser=bundled"},
}
results = {task: {way: hd.restore(case.task, **how) for way, how in ways.items()} for task, case in cases.items()}

# %%
# What each gives
# ---------------
# Under the blur plug-and-play is ahead, and RED adds nothing. When the small image is enlarged, the fits are ahead. Which prior
# helps depends on the task, so measure: experiment 003 does so for longer fits.

figure, axes = plt.subplots(2, 5, figsize=(13, 5.8), layout="constrained")
for row, (task, case) in zip(axes, cases.items(), strict=True):
    shown = {task: case.task.observation, **{way: result.image for way, result in results[task].items()}, "clean": clean}
    for axis, (name, image) in zip(row, shown.items(), strict=True):
        axis.imshow(image[0].permute(1, 2, 0).clamp(0, 1))
        axis.set_title(f"{name}\n{hd.metrics.psnr(image, clean):.2f} dB" if name in ways else name)
        axis.axis("off")
plt.show()
