import torch
from torch import Tensor

from hybrid_dip.images.metrics import psnr
from hybrid_dip.problem.noise import add_photon_noise
from hybrid_dip.problem.noise_by_detail import estimate_sigma
from hybrid_dip.regularisers.denoisers import nlm
from hybrid_dip.regularisers.stabilised import Stabilised


def test_a_stabilised_denoiser_is_better_on_photon_noise(photograph: Tensor) -> None:
    noisy = add_photon_noise(photograph, 20)
    stabilised = Stabilised(nlm, a=1 / 20)(noisy)
    assert psnr(stabilised, photograph) > psnr(nlm(noisy, estimate_sigma(noisy)), photograph) + 0.3


def test_a_denoiser_that_does_nothing_leaves_the_image(photograph: Tensor) -> None:
    back = Stabilised(lambda x, sigma: x, a=1e-3)(photograph)
    assert torch.allclose(back, photograph, atol=1e-3)
