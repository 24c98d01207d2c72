"""All that ``hybrid-dip restore`` can be asked for."""

from dataclasses import dataclass

from cyclopts import Parameter

from hybrid_dip.cli.method import Fusion, MethodWithPriors
from hybrid_dip.cli.options import Output, Source
from hybrid_dip.cli.where import Evaluation
from hybrid_dip.cli.wrong import Observation


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Restoration:
    """All options of ``hybrid-dip restore``.

    Attributes:
        wrong: What is wrong with the image.
        output: Where results go.
        source: Which part of the image is restored, and what the result is compared with.
        method: What is fitted, and how.
        fusion: How the priors are fused.
        where: Where the fits run, how long, and how the network is evaluated.
    """

    wrong: Observation
    output: Output
    source: Source = Source()
    method: MethodWithPriors = MethodWithPriors()
    fusion: Fusion = Fusion()
    where: Evaluation = Evaluation()
