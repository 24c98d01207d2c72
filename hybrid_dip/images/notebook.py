"""Whether a person can be shown pictures where this runs."""

import sys


def in_notebook() -> bool:
    """Whether this runs in a notebook. IPython is not imported for it: whoever runs in one has it."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None
