"""The version of the installed package."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("hybrid-dip")
except PackageNotFoundError:  # used from a folder without being installed
    __version__ = "0"
