"""Names -> objects: the one place where strings become things, and the door for plug-ins.

A plug-in package names a function ``register(catalogue)`` under the entry-point group ``hybrid_dip.plugins``; it adds what it
brings by ``catalogue.add(kind, name, "package.module:attribute", summary)``. Nothing is imported until it is asked for.
"""

import importlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from hybrid_dip.errors import SettingsError, nearest, told

KINDS = (
    "regularisers",
    "denoisers",
    "networks",
    "latents",
    "operators",
    "presets",
    "solvers",
    "tasks",
    "degradations",
    "stopping",
    "metrics",
    "weights",
    "commands",
)
GROUP = "hybrid_dip.plugins"
OWN = "hybrid_dip"
"""Source of the names that this package itself brings."""


@dataclass(frozen=True)
class Entry:
    """One name.

    Attributes:
        name: As written on the command line.
        target: "package.module:attribute", or a function that makes it.
        summary: One line.
        family: What it belongs to within its kind; "" where the kind has no families.
        needs: Names of the learned weights without which it does not work as it is set by default.
        source: Which plug-in brought it.
    """

    name: str
    target: str | Callable[[], Any]
    summary: str
    family: str = ""
    needs: tuple[str, ...] = ()
    source: str = OWN

    @property
    def module(self) -> str:
        """Of the target; "" where that is a function."""
        return self.target.partition(":")[0] if isinstance(self.target, str) else ""

    def load(self) -> Any:
        """Import and return what the name stands for.

        Raises:
            SettingsError: A package that it needs is missing.
        """
        if not isinstance(self.target, str):
            return self.target()
        module, _, attribute = self.target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ImportError as error:
            raise SettingsError(f"'{self.name}' of {self.source} cannot be loaded: {told(error)}.") from None


class Catalogue:
    """Entries by kind and name."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}
        self._source = OWN

    def add(
        self,
        kind: str,
        name: str,
        target: str | Callable[[], Any],
        summary: str = "",
        family: str = "",
        needs: Sequence[str] = (),
    ) -> None:
        """Add a name.

        Args:
            kind: One of :data:`KINDS`.
            name: As written on the command line; must be new in its kind.
            target: "package.module:attribute", or a function that makes it.
            summary: One line.
            family: What it belongs to within its kind.
            needs: Names of the learned weights without which it does not work as it is set by default.

        Raises:
            SettingsError: An unknown kind, or a name that is taken.
        """
        if kind not in self._entries:
            raise SettingsError(f"Unknown kind '{kind}': {nearest(kind, list(self._entries))}.")
        taken = self._entries[kind].get(name)
        if taken is not None:
            raise SettingsError(f"The name '{name}' of {self._source} is taken by {taken.source} among the {kind}.")
        self._entries[kind][name] = Entry(name, target, summary, family, tuple(needs), self._source)

    def entries(self, kind: str) -> Mapping[str, Entry]:
        """All entries of a kind, by name."""
        return dict(self._entries[kind])

    def get(self, kind: str, name: str) -> Any:
        """What a name stands for.

        Args:
            kind: One of :data:`KINDS`.
            name: Of the entry.

        Returns:
            The object.

        Raises:
            SettingsError: No such name; the nearest ones are named.
        """
        known = self._entries[kind]
        if name not in known:
            raise SettingsError(f"There is no '{name}' among the {kind}: {nearest(name, list(known))}.")
        return known[name].load()

    def load_plugins(self) -> None:
        """Let every installed plug-in register; one that fails is reported and left out."""
        for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
            self._source = point.name
            try:
                point.load()(self)
            except Exception as error:  # a stranger's code may fail in any way; the rest must go on working
                warnings.warn(f"The plug-in '{point.name}' failed to register: {error!r}.", stacklevel=2)
        self._source = OWN


def register(catalogue: Catalogue) -> None:
    """Add what this package itself brings."""
    own: dict[str, dict[str, tuple[str, str]]] = {
        "denoisers": {
            "bilateral": ("regularisers.denoisers:bilateral", "bilateral filter"),
            "median": ("regularisers.denoisers:median", "median of 3x3 or 5x5 pixels"),
            "wavelet": ("regularisers.denoisers:wavelet", "BayesShrink of wavelet details"),
            "nlm": ("regularisers.denoisers:nlm", "non-local means"),
            "bm3d": ("denoisers:bm3d", "BM3D (extra bm3d, non-commercial)"),
        },
        "networks": {
            "skip": ("networks:skip", "the original's hourglass with skip connections"),
            "unet": ("networks:unet", "the original's U-Net for large holes"),
            "resnet": ("networks:resnet", "residual network at full resolution"),
            "texture": ("networks:texture", "multi-scale generator of Texture Networks"),
            "decoder": ("networks:decoder", "deep decoder: 1x1 convolutions and upsampling"),
            "pixels": ("networks:pixels", "x = theta: no prior in the architecture"),
        },
        "latents": {
            "uniform": ("recipes.presets:NOISE", "noise uniform on [0, 0.1], the original's"),
            "normal": ("recipes.presets:NORMAL", "Gaussian noise of deviation 0.1"),
            "meshgrid": ("networks.latents:meshgrid", "coordinates"),
            "fourier": ("networks.latents:fourier", "Fourier features of the coordinates"),
        },
        "operators": {
            "identity": ("problem.operators:Identity", "A x = x"),
            "downsample": ("problem.operators:Downsample", "low-pass filter, then every factor-th pixel"),
            "gaussian-blur": ("problem.operators:GaussianBlur", "blur of a deviation in pixels"),
            "mosaic": ("problem.operators:Mosaic", "Bayer colour filter array"),
        },
        "presets": {
            "original": ("recipes.presets:original", "the paper's settings for each task; inpainting: text"),
            "original-region": ("recipes.presets:original_region", "the paper's inpainting of a region (vase)"),
            "original-hole": ("recipes.presets:original_hole", "the paper's inpainting of a large hole (library)"),
            "original-hole-unet": ("recipes.presets:original_hole_unet", "the same with the paper's U-Net"),
            "original-hole-resnet": ("recipes.presets:original_hole_resnet", "the same with the paper's residual network"),
            "fast": (
                "recipes.presets:fast",
                "near the original's best quality in a tenth of its time: two short fits of a narrow network",
            ),
            "quick": ("recipes.presets:quick", "a lean network and fewer steps, for laptops"),
            "baseline": (
                "recipes.without_fit:baseline",
                "no fit and no prior: y, what is around missing pixels, an enlargement",
            ),
            "one-shot": (
                "recipes.without_fit:one_shot",
                "no fit: a denoiser applied once to a noisy image, one-shot:denoiser=NAME",
            ),
            "plug-and-play": ("recipes.without_fit:plug_and_play", "no fit: a denoiser and the observation in turn"),
            "guided": (
                "recipes.without_fit:guided",
                "a fit whose latent is the denoised image, guided:preset=fast,denoiser=NAME",
            ),
            "refined": ("recipes.without_fit:refined", "a fit that a denoiser goes on from, refined:preset=fast,denoiser=NAME"),
            "deepred": ("recipes.published:deepred", "DIP and regularisation by denoising, by ADMM, deepred:denoiser=NAME"),
            "sgld": ("recipes.published:sgld", "noisy steps, outputs averaged (Cheng et al. 2019), 20000 steps"),
            "self-guided": ("recipes.published:self_guided", "network and input optimised together (Liang et al. 2024)"),
            "aseqdip": ("recipes.published:aseqdip", "the input is the last output (Alkhouri et al. 2024)"),
            "dip-sure": ("recipes.published:dip_sure", "the input is y, the loss a heuristic SURE (Jo et al. 2021)"),
        },
        "solvers": {
            "admm": ("fitting.solvers:ADMM", "splitting with duals: each regulariser acts on a copy of the image, by its prox"),
            "hqs": (
                "fitting.solvers:HQS",
                "half-quadratic splitting: the same without duals, the copies held more and more tightly",
            ),
            "langevin": ("fitting.solvers:Langevin", "samples of the posterior: mean and deviation"),
            "averaging": ("fitting.solvers:Averaging", "mean and deviation of the outputs after a burn-in"),
        },
        "tasks": {
            "denoise": (
                "problem.tasks:denoise",
                "noise: --sigma 0..255 (estimated if left out), --noise gaussian|poisson|l1|speckle",
            ),
            "jpeg": ("problem.tasks:jpeg", "JPEG artefacts"),
            "inpaint": ("problem.tasks:inpaint", "regions to fill in: --mask FILE, 255 = known pixel"),
            "missing-pixels": ("problem.tasks:missing_pixels", "scattered known pixels: --mask FILE, 255 = known pixel"),
            "super-resolve": ("problem.tasks:super_resolve", "enlarge: --factor N, --kernel lanczos2|box|bicubic|..."),
            "deblur": ("problem.tasks:deblur", "known blur: --psf FILE or gaussian:SIGMA"),
            "flash": ("problem.tasks:flash", "no-flash photograph with a flash photograph: --guide FILE"),
            "demosaic": ("problem.tasks:demosaic", "Bayer mosaic: --pattern RGGB|BGGR|GRBG|GBRG"),
            "linear": ("problem.tasks:linear", "measured by any operator: --operator NAME or file.py:name, --shape H,W"),
        },
        "degradations": {
            "denoise": ("problem.degradations:noisy", "Gaussian or Poisson noise, salt and pepper, or speckle"),
            "jpeg": ("problem.degradations:jpeg_compressed", "JPEG compression: --quality"),
            "inpaint": ("problem.degradations:masked", "hide what a mask marks: --mask FILE, 255 = known pixel"),
            "missing-pixels": ("problem.degradations:scattered", "keep a random share of the pixels: --share"),
            "super-resolve": ("problem.degradations:downsampled", "shrink: --factor N, --kernel"),
            "deblur": ("problem.degradations:blurred", "blur by --psf FILE or gaussian:SIGMA"),
            "demosaic": ("problem.degradations:mosaicked", "Bayer mosaic: --pattern"),
            "linear": ("problem.degradations:measured", "measure by any operator: --operator NAME or file.py:name"),
            "impedance": (
                "problem.degradations:stand_in",
                "for noise impedance: shuffled pixels or noise in the image's place",
            ),
        },
        "stopping": {
            "max_steps": ("stopping:MaxSteps", "all steps, the last iterate"),
            "wmv": ("stopping:WindowedVariance", "ES-WMV: the iterate where the images vary least"),
            "emv": ("stopping:MovingVariance", "ES-EMV: the same with a moving variance"),
            "discrepancy": ("stopping:Discrepancy", "the residual reaches the noise level"),
            "zero-crossing": ("stopping:ZeroCrossing", "SURE crosses zero: a heuristic, with the preset dip-sure"),
            "whiteness": ("stopping:Whiteness", "the iterate whose residual is most like white noise"),
            "held-out": ("stopping.selection:HeldOut", "as many steps as are best for a tenth of the pixels that is held out"),
            "bootstrap": (
                "stopping.selection:Bootstrap",
                "as many steps as are best for an unbiased risk: Gaussian noise, known level",
            ),
        },
        "metrics": {
            "psnr": ("images.metrics:psnr", "peak signal-to-noise ratio in dB"),
            "ssim": ("images.metrics:ssim", "structural similarity"),
            "ms_ssim": ("images.metrics:ms_ssim", "multi-scale structural similarity, from 176 pixels a side"),
            "psnr_y": ("images.metrics:psnr_y", "PSNR of the Y channel without a border of 4 pixels"),
        },
    }
    for kind, entries in own.items():
        for name, (target, summary) in entries.items():
            catalogue.add(kind, name, f"hybrid_dip.{target}", summary)
    for family, members in REGULARISERS.items():
        for name, (attribute, summary) in members.items():
            catalogue.add("regularisers", name, f"hybrid_dip.regularisers:{attribute}", summary, family)


REGULARISERS: dict[str, dict[str, tuple[str, str]]] = {
    "variation": {
        "tv": ("TV", "total variation, isotropic"),
        "tv-anisotropic": ("AnisotropicTV", "total variation, rows and columns by themselves"),
        "tv-huber": ("HuberTV", "variation, quadratic where it is small"),
        "tv-vectorial": ("VectorialTV", "total variation of all channels together"),
        "tv-weighted": ("WeightedTV", "total variation with weights from the image"),
        "tgv": ("TGV", "total generalised variation: flat and sloped regions"),
        "tikhonov": ("Tikhonov", "mean square of the gradient or the Laplacian"),
    },
    "sparsity": {
        "wavelet": ("Wavelet", "l1 norm of wavelet details"),
        "dct": ("BlockDCT", "l1 norm of the cosine transform of blocks"),
        "hyper-laplacian": ("HyperLaplacian", "gradients with heavy tails, |g|^0.8"),
    },
    "patches": {
        "non-local": ("NonLocal", "each patch against its nearest ones, across scales"),
        "low-rank": ("LowRank", "nuclear norm of groups of similar patches"),
        "sliced-wasserstein": ("SlicedWasserstein", "patches distributed as at a smaller scale, or as an exemplar's"),
        "epll": ("EPLL", "likelihood of the patches under a mixture of Gaussians"),
    },
    "denoising": {
        "red": ("RED", "regularisation by denoising, around any denoiser"),
        "denoised-observation": ("DenoisedObservation", "distance to the denoised observation"),
    },
    "generator": {
        "weight-decay": ("WeightDecay", "mean square of the parameters"),
        "start-distance": ("StartDistance", "distance of the parameters to where they started"),
        "spectral-norm": ("SpectralNorm", "largest gain of each layer below a bound"),
        "noise-sensitivity": ("NoiseSensitivity", "how much the output moves with the latent"),
        "orthogonality": ("Orthogonality", "filters of a layer that differ"),
    },
    "reference": {
        "guide-pixels": ("GuidePixels", "distance to a guide image"),
        "guide-gradients": ("GuideGradients", "distance to a guide's gradients"),
        "guide-correlation": ("GuideCorrelation", "local correlation with a guide, of any brightness"),
        "guide-histogram": ("GuideHistogram", "distance of the histograms"),
    },
}
"""Family -> name -> attribute of hybrid_dip.regularisers, summary."""


@cache
def catalogue() -> Catalogue:
    """The catalogue of this process: this package's own entries and those of every installed plug-in."""
    filled = Catalogue()
    register(filled)
    filled.load_plugins()
    return filled
