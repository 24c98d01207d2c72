"""
Tomography and magnetic resonance
=================================

A physics of `DeepInverse <https://deepinv.github.io>`_ is a forward operator here. Two medical ones show what becomes of noise
that is not Gaussian, and of complex images.
"""

import deepinv
import matplotlib.pyplot as plt
import skimage.data
import torch
import torch.nn.functional as F

import hybrid_dip as hd

steps, side = 400, 64

phantom = torch.from_numpy(skimage.data.shepp_logan_phantom())[None, None].float()
clean = F.interpolate(phantom, (side, side), mode="area")
tv = hd.Term(hd.TV(), hd.schedules.Balanced(0.5))


def show(images):
    """A row of grey images under their names, each with its PSNR."""
    _, axes = plt.subplots(1, len(images), figsize=(3 * len(images), 3.8), layout="constrained")
    for axis, (name, image) in zip(axes, images.items(), strict=True):
        axis.imshow(image[0, 0], cmap="gray", vmin=0, vmax=1)
        axis.set_title(name if image is clean else f"{name}\n{hd.metrics.psnr(image, clean):.2f} dB")
        axis.axis("off")
    plt.show()


# %%
# Tomography
# ----------
# Rays pass through a body at 30 angles. About 1000 photons enter along each ray; a detector counts those that leave. The data
# are minus the logarithms of the counts, as ``LogPoissonNoise`` has it.

torch.manual_seed(0)
noise = deepinv.physics.LogPoissonNoise(N0=1000.0, mu=4 / side)
scanner = deepinv.physics.Tomography(30, side, normalize=False, noise_model=noise)
sinogram = scanner(clean)

_, axis = plt.subplots(figsize=(5, 3), layout="constrained")
axis.imshow(sinogram[0, 0], cmap="gray", aspect="auto")
axis.set_xlabel("angle")
axis.set_ylabel("detector")
plt.show()

# %%
# The model takes the likelihood of the photons that passed, exp(-mu A x) of them, which are Poisson-distributed. Filtered
# back-projection is DeepInverse's ``A_dagger``.

show(
    {
        "clean": clean,
        "back-projection": scanner.A_dagger(sinogram),
        "HybridDIP": hd.deepinv.HybridDIP("quick", steps=steps, value_range=(0, 1))(sinogram, scanner),
        "HybridDIP and TV": hd.deepinv.HybridDIP("quick", tv, steps=steps, value_range=(0, 1))(sinogram, scanner),
    }
)

# %%
# Magnetic resonance
# ------------------
# One coil measures some of the columns of the image's Fourier transform. The image is complex: two channels, real and
# imaginary. Its phase varies slowly.

row = torch.linspace(-1, 1, side)
phase = 0.8 * (row[:, None] + row[None] ** 2)
image = torch.cat([clean * phase.cos(), clean * phase.sin()], 1)

mask = deepinv.physics.generator.RandomMaskGenerator(
    (2, side, side), acceleration=3, center_fraction=0.1, rng=torch.Generator().manual_seed(0)
).step()["mask"]
coil = deepinv.physics.MRI(mask=mask, noise_model=deepinv.physics.GaussianNoise(0.02))
kspace = coil(image)
task = hd.deepinv.task(kspace, coil)
print(f"{float(task.measured) / kspace.numel():.0%} of k-space was measured, with noise of deviation {task.noise_sigma:.3f}")

# %%
# Entries that the mask leaves have no weight, so rules and priors with a balance count the measured ones only. Nothing is
# clamped, for the two channels may be negative. The pictures show magnitudes.


def magnitude(x):
    """|x| of an image whose channels are real and imaginary part."""
    return torch.linalg.vector_norm(x, dim=1, keepdim=True)


show(
    {
        "clean": clean,
        "zeros for the rest": magnitude(coil.A_adjoint(kspace)),
        "HybridDIP": magnitude(hd.deepinv.HybridDIP("quick", steps=steps)(kspace, coil)),
        "HybridDIP and TV": magnitude(hd.deepinv.HybridDIP("quick", tv, steps=steps)(kspace, coil)),
    }
)
