"""Between this package and DeepInverse (the extra ``deepinv``): its priors and physics serve here, our fits serve there.

Its denoisers need no adapter: a ``deepinv.models.Denoiser`` is (x, sigma) -> x, which is what RED takes.
"""

from hybrid_dip.errors import SettingsError

try:
    import deepinv.models  # noqa: F401
except ImportError:
    raise SettingsError("hybrid_dip.restoring.deepinv needs DeepInverse: pip install 'hybrid-dip[deepinv]'.") from None

from hybrid_dip.restoring.deepinv.measurement import task
from hybrid_dip.restoring.deepinv.operator import Noiseless
from hybrid_dip.restoring.deepinv.prior import Prior
from hybrid_dip.restoring.deepinv.reconstructor import HybridDIP

__all__ = ["HybridDIP", "Noiseless", "Prior", "task"]
