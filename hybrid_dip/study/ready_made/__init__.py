"""Studies that a command writes by itself: sweeps, impedance, many images, the demo."""
