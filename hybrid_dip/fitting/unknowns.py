"""theta and z: what is optimised, and what stays as it is."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from hybrid_dip.errors import SettingsError, describe_given


@dataclass(frozen=True, eq=False)
class Unknowns:
    """The network, the latent, and those of their tensors that are optimised.

    Attributes:
        network: f_theta.
        latent: z, without this step's jitter.
        leaves: The tensors that are optimised: parameters of the network, the latent, or both.
    """

    network: nn.Module
    latent: Tensor
    leaves: list[Tensor]

    @property
    def finite(self) -> bool:
        """Whether all that is optimised is finite. Waits for the device."""
        return all(bool(torch.isfinite(leaf).all()) for leaf in self.leaves)


@torch.no_grad()
def make_lazy_layers(network: nn.Module, latent: Tensor) -> None:
    """Evaluate a network with layers such as LazyConv2d once, which makes them; others stay as they are."""
    if any(is_lazy(parameter) for parameter in network.parameters()):
        network(latent)


def choose_unknowns(network: nn.Module, latent: Tensor, optimise: Literal["network", "latent", "both"]) -> Unknowns:
    """Choose what is optimised.

    Args:
        network: f_theta; frozen in place where only the latent is optimised.
        latent: z; the fit changes a copy of it.
        optimise: The network (those parameters that require a gradient), the latent, or both.

    Returns:
        The unknowns.

    Raises:
        SettingsError: Nothing is left to optimise.
    """
    if optimise not in ("network", "latent", "both"):
        raise SettingsError(f"What is optimised is 'network', 'latent' or 'both', got {describe_given(optimise)}.")
    make_lazy_layers(network, latent)
    latent = latent.detach().clone().requires_grad_(optimise != "network")
    if optimise == "latent":
        network.requires_grad_(False)
    leaves = [leaf for leaf in (*network.parameters(), latent) if leaf.requires_grad]
    if not leaves:
        raise SettingsError("Nothing to optimise: the network has no trainable parameters and the latent is fixed.")
    return Unknowns(network, latent, leaves)
