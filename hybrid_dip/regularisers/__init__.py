"""R(x): energies of an image, one file for each family. Each is a mean per pixel with a finite gradient everywhere."""

from hybrid_dip.regularisers.epll import EPLL
from hybrid_dip.regularisers.generator import NoiseSensitivity, Orthogonality, SpectralNorm, StartDistance, WeightDecay
from hybrid_dip.regularisers.patches import LowRank, NonLocal, SlicedWasserstein
from hybrid_dip.regularisers.red import RED, DenoisedObservation
from hybrid_dip.regularisers.reference import GuideCorrelation, GuideGradients, GuideHistogram, GuidePixels
from hybrid_dip.regularisers.sparsity import BlockDCT, HyperLaplacian, Wavelet
from hybrid_dip.regularisers.variation import TGV, TV, AnisotropicTV, HuberTV, Tikhonov, VectorialTV, WeightedTV

__all__ = [
    "EPLL",
    "RED",
    "TGV",
    "TV",
    "AnisotropicTV",
    "BlockDCT",
    "DenoisedObservation",
    "GuideCorrelation",
    "GuideGradients",
    "GuideHistogram",
    "GuidePixels",
    "HuberTV",
    "HyperLaplacian",
    "LowRank",
    "NoiseSensitivity",
    "NonLocal",
    "Orthogonality",
    "SlicedWasserstein",
    "SpectralNorm",
    "StartDistance",
    "Tikhonov",
    "VectorialTV",
    "Wavelet",
    "WeightDecay",
    "WeightedTV",
]
