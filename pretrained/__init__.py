"""Learned global priors, a plug-in of hybrid_dip: networks trained on many images, to use with the image's own prior."""

from functools import partial

from hybrid_dip.recipes.catalogue import Catalogue
from pretrained import weights
from pretrained.denoisers import load_denoiser
from pretrained.features import load_features
from pretrained.perceptual import load_perceptual

__all__ = ["load_denoiser", "load_features", "load_perceptual", "register"]

METRICS = {
    "stlpips-alex": ["stlpips-alex"],
    "stlpips-vgg": ["stlpips-vgg"],
    "lpips-alex": ["alexnet", "lpips-alex-heads"],
    "lpips-vgg": ["vgg16", "lpips-vgg-heads"],
    "lpips-squeeze": ["squeezenet", "lpips-squeeze-heads"],
}
"""Name -> weights."""
COMMANDS = {
    "pretrain-network": "pretrained.pretrain_network:pretrain_network",
    "invert-features": "pretrained.visualise:invert",
    "maximise-activation": "pretrained.visualise:maximise",
}
"""Name -> function."""


def register(catalogue: Catalogue) -> None:
    """Add what this package brings; nothing is loaded before it is asked for."""
    for name, one in weights.index().items():
        catalogue.add("weights", name, partial(weights.get, name), one.purpose)
    about = "Learned weights: what there is, what is here, and whether it is sound"
    catalogue.add("commands", "weights", "pretrained.commands:app", about)
    for name, function in COMMANDS.items():
        catalogue.add("commands", name, function)
    catalogue.add("denoisers", "bundled", "pretrained.denoisers:bundled", needs=["denoiser"])
    catalogue.add("denoisers", "camera", "pretrained.denoisers:camera", needs=["camera"])
    catalogue.add("denoisers", "trained", "pretrained.denoisers:Trained")
    catalogue.add("denoisers", "ffdnet", "pretrained.denoisers:ffdnet", needs=["ffdnet-colour", "ffdnet-grey"])
    features, perceptual = "pretrained.likeness:DeepFeatures", "pretrained.likeness:LPIPS"
    catalogue.add("regularisers", "deep-features", features, family="learned", needs=["efficientnet-lite0", "denoiser"])
    catalogue.add("regularisers", "lpips", perceptual, family="learned", needs=["stlpips-alex", "denoiser"])
    for name, needed in METRICS.items():
        catalogue.add("metrics", name, f"pretrained.metrics:{name.replace('-', '_')}", needs=needed)
