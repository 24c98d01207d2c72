"""Files and arrays <-> tensors, how far two images are apart, and figures."""
