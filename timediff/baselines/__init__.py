"""Simple joint forecasts that every table shows beside the model: GluonTS predictors, no training.

Each is made from an entry's own history when it predicts. ``simple_forecasts`` gives the standard
set for a frequency.
"""

from timediff.baselines.base import SimpleForecast
from timediff.baselines.gaussian import IndependentGaussian
from timediff.baselines.seasonal import PastSeasons, SeasonalNaive
from timediff.baselines.standard import simple_forecasts
from timediff.baselines.var import VAR
from timediff.baselines.walks import BootstrapReturns, LastValue, RandomWalk

__all__ = [
    "VAR",
    "BootstrapReturns",
    "IndependentGaussian",
    "LastValue",
    "PastSeasons",
    "RandomWalk",
    "SeasonalNaive",
    "SimpleForecast",
    "simple_forecasts",
]
