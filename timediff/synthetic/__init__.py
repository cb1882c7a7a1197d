"""Series drawn from a law that is known, so that the best possible score is a number.

    >>> data = generate("var", num_series=3, length=500, windows=2)
    >>> best = optimal_scores(data)
    >>> sorted(best.expected)
    ['crps', 'crps_exact', 'crps_sum', 'energy_score']

``data.oracle`` is the law as a forecaster: it draws paths from the exact predictive law given the
observed history, and no forecast can have a lower expected score.
"""

from timediff.synthetic.drawn import LAWS
from timediff.synthetic.innovations import Clayton, Gaussian, Innovations, StudentT
from timediff.synthetic.law import Law
from timediff.synthetic.linear import VectorAutoregression
from timediff.synthetic.optimum import OptimalScores, optimal_scores
from timediff.synthetic.oracle import OraclePredictor, generate
from timediff.synthetic.regimes import RegimeSwitching

__all__ = [
    "LAWS",
    "Clayton",
    "Gaussian",
    "Innovations",
    "Law",
    "OptimalScores",
    "OraclePredictor",
    "RegimeSwitching",
    "StudentT",
    "VectorAutoregression",
    "generate",
    "optimal_scores",
]
