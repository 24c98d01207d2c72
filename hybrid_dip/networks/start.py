"""theta_0 from a file: a fit begins there instead of at random weights (EDIP, MetaDIP).

Barbano et al. 2022, "An educated warm start for Deep Image Prior-based micro CT reconstruction"; Zhang et al. 2022, "MetaDIP:
Accelerating Deep Image Prior with meta learning". ``hybrid-dip pretrain-network`` makes such a file.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from hybrid_dip.errors import SettingsError
from hybrid_dip.images.atomic import replacement

ABOUT = "hybrid_dip"
"""Key of the file's metadata."""


@dataclass(frozen=True, eq=False)
class Start:
    """Values for all parameters and buffers of a network.

    Attributes:
        path: Path of the file.
        tensors: Name -> value.
        about: The recipe that it was made with, and how.
        sha256: Hash of the file.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    about: Mapping[str, Any]
    sha256: str

    def fill(self, network: nn.Module) -> None:
        """Put the values into a network.

        Args:
            network: A network of the recipe that the file was made with; one on the meta device gets no values.

        Raises:
            SettingsError: It is another network.
        """
        own = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        given = {name: tuple(value.shape) for name, value in self.tensors.items()}
        if own != given:
            differing = next(name for name in {**own, **given} if own.get(name) != given.get(name))
            preset = self.about.get("preset", "unknown")
            raise SettingsError(
                f"{self.path} was made for another network (preset {preset}): {differing} is "
                f"{given.get(differing, 'missing')} there and {own.get(differing, 'missing')} here; take its preset."
            )
        if not any(parameter.is_meta for parameter in network.parameters()):
            network.load_state_dict(dict(self.tensors))


def read_start(path: str | Path) -> Start:
    """Read theta_0.

    Args:
        path: A safetensors file; nothing in it can be run.

    Returns:
        The values, on the CPU.

    Raises:
        FileNotFoundError: There is no such file.
        SettingsError: It is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no start {path}; hybrid-dip pretrain-network makes one.")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get(ABOUT, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (SafetensorError, ValueError, OSError) as error:
        raise SettingsError(f"{path} cannot be read as a start: {str(error).rstrip('.')}.") from None
    return Start(path, tensors, about, hashlib.sha256(path.read_bytes()).hexdigest())


def write_start(network: nn.Module, path: Path, about: Mapping[str, Any]) -> None:
    """Write theta_0.

    Args:
        network: The network whose values are written.
        path: Path of the file.
        about: The recipe that it was made with, and how; plain data.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    with replacement(path) as temporary:
        temporary.write_bytes(save(tensors, {ABOUT: json.dumps(about)}))
