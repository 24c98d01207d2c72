"""Learned global priors, a plug-in of hybrid_dip: what was trained on many images, to be used beside the image's own prior."""
