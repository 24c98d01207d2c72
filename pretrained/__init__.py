"""Learned global priors, a plug-in of hybrid_dip: what was trained on many images, to be used beside the image's own prior."""

from hybrid_dip.catalogue import Catalogue

METRICS = {
    "stlpips-alex": "shift-tolerant LPIPS with AlexNet, works offline; lower is better",
    "stlpips-vgg": "shift-tolerant LPIPS with VGG16, works offline; lower is better",
    "lpips-alex": "LPIPS with AlexNet, which is downloaded; lower is better",
    "lpips-vgg": "LPIPS with VGG16, which is downloaded; lower is better",
    "lpips-squeeze": "LPIPS with SqueezeNet, which is downloaded; lower is better",
}


def register(catalogue: Catalogue) -> None:
    """Add what this package brings; nothing is loaded before it is asked for."""
    learned = "learned"
    catalogue.add("regularisers", "deep-features", "pretrained.likeness:DeepFeatures", "deep features of a target", learned)
    catalogue.add("regularisers", "lpips", "pretrained.likeness:LPIPS", "learned perceptual distance to a target", learned)
    for name, summary in METRICS.items():
        catalogue.add("metrics", name, f"pretrained.metrics:{name.replace('-', '_')}", summary)
