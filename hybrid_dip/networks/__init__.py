"""f_theta: untrained networks, each a function that builds a module (1, C, H, W) -> (1, C', H, W) for any height and width."""

from hybrid_dip.networks.decoder import decoder
from hybrid_dip.networks.padded import Padded
from hybrid_dip.networks.pixels import Pixels, pixels
from hybrid_dip.networks.resnet import resnet
from hybrid_dip.networks.s2s import s2s
from hybrid_dip.networks.skip import skip
from hybrid_dip.networks.texture import texture
from hybrid_dip.networks.unet import unet

__all__ = ["Padded", "Pixels", "decoder", "pixels", "resnet", "s2s", "skip", "texture", "unet"]
