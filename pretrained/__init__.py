"""Learned global priors, a plug-in of hybrid_dip: what was trained on many images, to be used beside the image's own prior."""

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
    "weights": ("pretrained.commands:app", "Learned weights: what there is, what is here, and whether it is sound."),
    "pretrain-network": ("pretrained.pretrain_network:pretrain_network", "Learn from images where fits begin."),
    "invert-features": ("pretrained.visualise:invert", "The image that has the same features to a classifier."),
    "maximise-activation": (
        "pretrained.visualise:maximise",
        "The image that a class or a channel of a classifier likes best.",
    ),
}
"""Name -> target, summary."""


def register(catalogue: Catalogue) -> None:
    """Add what this package brings; nothing is loaded before it is asked for."""
    for name, known in weights.index().items():
        catalogue.add("weights", name, partial(weights.get, name), known.purpose)
    for name, (target, summary) in COMMANDS.items():
        catalogue.add("commands", name, target, summary)
    catalogue.add("denoisers", "bundled", "pretrained.denoisers:bundled", needs=["denoiser"])
    catalogue.add("denoisers", "trained", "pretrained.denoisers:Trained")
    catalogue.add("denoisers", "ffdnet", "pretrained.denoisers:ffdnet", needs=["ffdnet-colour", "ffdnet-grey"])
    for name, attribute, needs in (("deep-features", "DeepFeatures", "efficientnet-lite0"), ("lpips", "LPIPS", "stlpips-alex")):
        target = f"pretrained.likeness:{attribute}"
        catalogue.add("regularisers", name, target, family="learned", needs=[needs, "denoiser"])
    for name, needed in METRICS.items():
        catalogue.add("metrics", name, f"pretrained.metrics:{name.replace('-', '_')}", needs=needed)
