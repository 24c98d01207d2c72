"""A page to watch and steer a fit, on this machine only (``hybrid-dip app``)."""
