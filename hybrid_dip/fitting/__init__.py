"""argmin: the loop (read fit.py first), what it is made of, and the solvers that take its place."""
