"""A photograph as a camera takes it: noise on a Bayer mosaic in linear light, demosaicing, tone, noise reduction, JPEG.

The way from a finished photograph back to linear light, and the cameras, are those of Brooks et al. 2019 ("Unprocessing Images
for Learned Raw Denoising"): matrices of four cameras mixed at random, gains, shot and read noise whose variances lie along the
line that real cameras have. Demosaicing is bilinear, or that of Malvar, He & Cutler 2004. A camera's own noise reduction takes
fine noise and leaves coarse noise, most of all in the colours; here it does so without touching what the photograph shows. The
noise that comes out depends on the brightness, differs between colours, and is alike between neighbours.
"""

import io
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from hybrid_dip.images.picture import quantise, to_tensor

XYZ_OF_SRGB = torch.tensor(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
CAMERAS_OF_XYZ = torch.tensor(
    [
        [[1.0234, -0.2969, -0.2266], [-0.5625, 1.6328, -0.0469], [-0.0703, 0.2188, 0.6406]],
        [[0.4913, -0.0541, -0.0202], [-0.6130, 1.3513, 0.2906], [-0.1564, 0.2151, 0.7183]],
        [[0.8380, -0.2630, -0.0639], [-0.2887, 1.0725, 0.2496], [-0.0627, 0.1427, 0.5438]],
        [[0.6596, -0.2079, -0.0562], [-0.4782, 1.3016, 0.1933], [-0.0970, 0.1581, 0.5181]],
    ]
)
"""Colour matrices as DNG files of four cameras name them (Brooks et al. 2019)."""

SHOT = (2.4e-4, 0.006)
"""Variance of shot noise for one unit of light, from the lowest to the highest sensitivity."""
BILINEAR_GREEN = torch.tensor([[0.0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
BILINEAR_OTHER = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4


LUMA_CHROMA = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
"""Brightness and two colour differences of (R, G, B), as JPEG has them."""


@dataclass(frozen=True)
class Reduction:
    """What a camera's noise reduction leaves of the noise: a share of what is fine, and more of what is coarse.

    It smooths where the photograph is smooth, and spares what may be detail, with the noise that is there.

    Attributes:
        kept: Share of the fine noise that is left where the photograph is smooth.
        spared: Share that is left where it is full of detail.
        width: What is finer than a Gaussian of this deviation, in pixels, is fine.
        coarse: Share of the coarse noise that is left.
    """

    kept: float
    spared: float
    width: float
    coarse: float = 1.0

    def __call__(self, noise: Tensor, detail: Tensor) -> Tensor:
        """What is left of noise (N, C, H, W); detail is (N, 1, H, W), 0 where the photograph is smooth and up to 1."""
        share = self.kept + (self.spared - self.kept) * detail
        rough = blurred(noise, self.width)
        return share * (noise - rough) + self.coarse * rough


@dataclass(frozen=True)
class Camera:
    """One exposure of one camera.

    Attributes:
        matrix: Linear sRGB -> the camera's colours, (3, 3); its rows sum to 1.
        gains: White balance and exposure that red, green and blue are multiplied by after the exposure.
        shot: Variance of the noise for one unit of light.
        read: Variance of the noise in the dark.
        malvar: Whether demosaicing is that of Malvar, He & Cutler; otherwise bilinear.
        softening: Deviation in pixels of the lens's blur, before the mosaic; 0 for none. Without it the mosaic makes false
            colours of fine detail, which a camera's optics prevent.
        luma: Noise reduction of the brightness, or None for none.
        chroma: Noise reduction of the colours, or None for none.
        quality: Quality of the JPEG file, or None for none.
        chroma_halved: Whether the file has half the resolution for colour.
    """

    matrix: Tensor
    gains: tuple[float, float, float]
    shot: float
    read: float
    malvar: bool = True
    softening: float = 0.0
    luma: Reduction | None = None
    chroma: Reduction | None = None
    quality: int | None = None
    chroma_halved: bool = False


def draw_camera(draw: torch.Generator) -> Camera:
    """A camera at random, of sensitivity ISO 800 to 25600.

    Args:
        draw: Generator of the random numbers.

    Returns:
        The camera.
    """

    def between(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=draw))

    mixed = torch.rand(len(CAMERAS_OF_XYZ), 1, 1, generator=draw)
    matrix = ((mixed * CAMERAS_OF_XYZ).sum(0) / mixed.sum()) @ XYZ_OF_SRGB
    exposure = 1 / (0.8 + 0.1 * float(torch.randn((), generator=draw)))
    shot = math.exp(between(*map(math.log, SHOT)))
    read = math.exp(2.18 * math.log(shot) + 1.20 + 0.26 * float(torch.randn((), generator=draw)))
    reduced = between(0, 1) < 0.95
    return Camera(
        matrix / matrix.sum(1, keepdim=True),
        (exposure * between(1.9, 2.4), exposure, exposure * between(1.5, 1.9)),
        shot,
        read,
        malvar=between(0, 1) < 0.8,
        softening=between(0.6, 1.6),
        luma=Reduction(kept := between(0, 0.3), between(kept, 0.7), between(0.5, 1.8)) if reduced else None,
        chroma=Reduction(kept := between(0, 0.1), between(kept, 0.15), between(1.5, 3.5), between(0.2, 1)) if reduced else None,
        quality=round(98 - 23 * between(0, 1) ** 2) if between(0, 1) < 0.8 else None,
        chroma_halved=between(0, 1) < 0.5,
    )


def take_photograph(clean: Tensor, camera: Camera, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """A photograph of what a clean one shows.

    Args:
        clean: (1, 3, H, W) in [0, 1], sRGB, with even sides.
        camera: The camera.
        draw: Generator of the noise.

    Returns:
        The photograph, (1, 3, H, W) in [0, 1], and the same without noise and file: what many such photographs come near to in
        the mean.
    """
    light = unprocess(clean, camera)
    raw = mosaic_of(blurred(light, camera.softening) if camera.softening else light)
    noise = (camera.shot * raw + camera.read).sqrt() * torch.randn(raw.shape, generator=draw)
    truth = process(raw, camera)
    noisy = truth + reduce(process((raw + noise).clamp(0, 1), camera) - truth, truth, camera)
    noisy = noisy.clamp(0, 1)
    return noisy if camera.quality is None else as_jpeg(noisy, camera.quality, camera.chroma_halved), truth


def reduce(noise: Tensor, shown: Tensor, camera: Camera) -> Tensor:
    """What a camera's noise reduction leaves of the noise of a finished photograph.

    Args:
        noise: (1, 3, H, W).
        shown: The photograph without noise, of the same shape.
        camera: The camera.

    Returns:
        Of the same shape.
    """
    if camera.luma is None or camera.chroma is None:
        return noise
    parts = torch.einsum("ij,njhw->nihw", LUMA_CHROMA, noise)
    light = torch.einsum("j,njhw->nhw", LUMA_CHROMA[0], shown)[:, None]
    variance = (_window(light.square()) - _window(light).square()).clamp(min=0)
    # Detail is what is stronger than twice the noise.
    detail = variance / (variance + (2 * parts[:, :1].std()) ** 2 + 1e-12)
    parts = torch.cat([camera.luma(parts[:, :1], detail), camera.chroma(parts[:, 1:], detail)], 1)
    return torch.einsum("ij,njhw->nihw", torch.linalg.inv(LUMA_CHROMA), parts)


def _window(x: Tensor) -> Tensor:
    """Mean over 5x5 pixels."""
    return F.avg_pool2d(x, 5, 1, 2, count_include_pad=False)


def unprocess(srgb: Tensor, camera: Camera) -> Tensor:
    """From sRGB to the camera's linear light: tone curve, gamma, colours and gains undone.

    Args:
        srgb: (N, 3, H, W) in [0, 1].
        camera: The camera.

    Returns:
        Of the same shape, in [0, 1].
    """
    x = 0.5 - ((1 - 2 * srgb.clamp(0, 1)).asin() / 3).sin()
    x = torch.einsum("ij,njhw->nihw", camera.matrix, x.clamp(min=1e-8) ** 2.2)
    # Highlights keep their brightness: dividing by the gains would leave white below the sensor's end.
    gains = 1 / torch.tensor(camera.gains).view(1, 3, 1, 1)
    bright = ((x.mean(1, keepdim=True) - 0.9).clamp(min=0) / 0.1) ** 2
    return (x * torch.maximum(bright + (1 - bright) * gains, gains)).clamp(0, 1)


def process(raw: Tensor, camera: Camera) -> Tensor:
    """From a Bayer mosaic to sRGB: gains, demosaicing, colours, gamma and tone curve.

    Args:
        raw: (N, 1, H, W), pattern RGGB, linear light in [0, 1].
        camera: The camera.

    Returns:
        (N, 3, H, W) in [0, 1].
    """
    height, width = raw.shape[-2:]
    red, green, blue = camera.gains
    tile = torch.tensor([[red, green], [green, blue]]).repeat(height // 2, width // 2)
    light = demosaic(raw * tile, malvar=camera.malvar).clamp(0, 1)
    x = torch.einsum("ij,njhw->nihw", torch.linalg.inv(camera.matrix), light).clamp(0, 1)
    x = x.clamp(min=1e-8) ** (1 / 2.2)
    return (3 * x**2 - 2 * x**3).clamp(0, 1)


def mosaic_of(x: Tensor) -> Tensor:
    """The entries of a Bayer mosaic RGGB, (N, 1, H, W), of an image (N, 3, H, W) with even sides."""
    mosaic = x[:, 1:2].clone()
    mosaic[..., ::2, ::2] = x[:, :1, ::2, ::2]
    mosaic[..., 1::2, 1::2] = x[:, 2:, 1::2, 1::2]
    return mosaic


MALVAR = (
    torch.tensor(
        [
            [[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]],
            [[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]],
            [[0, 0, -1, 0, 0], [0, -1, 4, -1, 0], [0.5, 0, 5, 0, 0.5], [0, -1, 4, -1, 0], [0, 0, -1, 0, 0]],
            [[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]],
        ]
    )
    / 8
)
"""Green at red or blue; a colour between two of its own in a row; in a column; amid four (Malvar et al. 2004, figure 2)."""


def demosaic(mosaic: Tensor, *, malvar: bool = True) -> Tensor:
    """The colours between those of a Bayer mosaic RGGB.

    Args:
        mosaic: (N, 1, H, W) with even sides.
        malvar: Linear interpolation corrected by the other colours (Malvar, He & Cutler 2004); otherwise bilinear.

    Returns:
        (N, 3, H, W).
    """
    if not malvar:
        return _bilinear(mosaic)
    green_there, row, column, middle = F.conv2d(F.pad(mosaic, (2,) * 4, mode="reflect"), MALVAR[:, None]).chunk(4, 1)
    even, odd = slice(0, None, 2), slice(1, None, 2)
    at_red, at_blue = (..., even, even), (..., odd, odd)
    by_red, by_blue = (..., even, odd), (..., odd, even)  # green, in a row with red, and with blue
    red, green, blue = mosaic.clone(), mosaic.clone(), mosaic.clone()
    for place in (at_red, at_blue):
        green[place] = green_there[place]
    red[by_red], red[by_blue], red[at_blue] = row[by_red], column[by_blue], middle[at_blue]
    blue[by_red], blue[by_blue], blue[at_red] = column[by_red], row[by_blue], middle[at_red]
    return torch.cat([red, green, blue], 1)


def _bilinear(mosaic: Tensor) -> Tensor:
    planes = torch.zeros(len(mosaic), 3, *mosaic.shape[-2:])
    planes[:, 0, ::2, ::2] = mosaic[:, 0, ::2, ::2]
    planes[:, 1, ::2, 1::2], planes[:, 1, 1::2, ::2] = mosaic[:, 0, ::2, 1::2], mosaic[:, 0, 1::2, ::2]
    planes[:, 2, 1::2, 1::2] = mosaic[:, 0, 1::2, 1::2]
    kernels = torch.stack([BILINEAR_OTHER, BILINEAR_GREEN, BILINEAR_OTHER])[:, None]
    return F.conv2d(F.pad(planes, (1,) * 4, mode="reflect"), kernels, groups=3)


def blurred(x: Tensor, deviation: float) -> Tensor:
    """A Gaussian blur, mirrored at the borders.

    Args:
        x: (N, C, H, W).
        deviation: In pixels.

    Returns:
        Of the same shape.
    """
    reach = min(math.ceil(2.5 * deviation), min(x.shape[-2:]) - 1)
    side = torch.arange(-reach, reach + 1.0)
    kernel = torch.exp(-0.5 * (side / deviation) ** 2)
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, 1, -1)
    across = F.conv2d(F.pad(x, (reach, reach, 0, 0), mode="reflect"), kernel, groups=x.shape[1])
    return F.conv2d(F.pad(across, (0, 0, reach, reach), mode="reflect"), kernel.mT, groups=x.shape[1])


def as_jpeg(x: Tensor, quality: int, chroma_halved: bool = False) -> Tensor:
    """An image (1, 3, H, W) after it was saved as JPEG and read again.

    Args:
        x: In [0, 1].
        quality: 1 to 95, or up to 100.
        chroma_halved: Whether the file has half the resolution for colour.

    Returns:
        Of the same shape.
    """
    buffer = io.BytesIO()
    Image.fromarray(quantise(x)).save(buffer, "JPEG", quality=quality, subsampling=2 if chroma_halved else 0)
    return to_tensor(np.asarray(Image.open(buffer))) / 255
