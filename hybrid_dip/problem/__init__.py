"""y = A x + n: degraded images and how they came about: tasks, operators, fidelities, tiles, least squares."""
