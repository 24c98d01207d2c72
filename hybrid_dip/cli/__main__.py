"""``python -m hybrid_dip.cli`` is the command ``hybrid-dip``."""

from hybrid_dip.cli.app import main

main()
