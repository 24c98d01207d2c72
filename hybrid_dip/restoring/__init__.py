"""One image: its plan, its cost, and restore()."""
