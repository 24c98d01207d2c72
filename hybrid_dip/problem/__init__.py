"""y = A x + n: degraded images and how they came about: tasks, operators, fidelities, noise, tiles, least squares."""
