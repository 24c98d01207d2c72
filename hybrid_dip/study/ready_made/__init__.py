"""Studies that commands write: sweeps, impedance, many images, the demo."""
