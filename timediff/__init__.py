"""timediff: joint probabilistic forecasts of many series, by diffusion.

>>> from timediff import TimeGradEstimator, load_dataset

Names are imported when they are first used, so that importing the package stays cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from timediff.datasets import list_datasets, load_dataset
    from timediff.diffusion import ConditionalDiffusion, NoiseSchedule, zero_terminal_snr
    from timediff.errors import (
        DataError,
        DataWarning,
        OptionError,
        SavedModelError,
        TimediffError,
    )
    from timediff.estimator import TimeGradEstimator
    from timediff.forecast import JointForecast
    from timediff.forecaster import Forecaster
    from timediff.frames import from_long, from_wide, group_series, to_frame
    from timediff.holiday import holiday_features
    from timediff.options import Options
    from timediff.predictor import TimeGradPredictor
    from timediff.recalibration import Recalibration
    from timediff.results import Forecast
    from timediff.scenarios import Given, Total

__version__ = "0.1.0"

_HOME = {
    "ConditionalDiffusion": "diffusion",
    "DataError": "errors",
    "DataWarning": "errors",
    "Forecast": "results",
    "Forecaster": "forecaster",
    "Given": "scenarios",
    "JointForecast": "forecast",
    "NoiseSchedule": "diffusion",
    "OptionError": "errors",
    "Options": "options",
    "Recalibration": "recalibration",
    "SavedModelError": "errors",
    "TimeGradEstimator": "estimator",
    "TimeGradPredictor": "predictor",
    "Total": "scenarios",
    "TimediffError": "errors",
    "from_long": "frames",
    "from_wide": "frames",
    "group_series": "frames",
    "holiday_features": "holiday",
    "list_datasets": "datasets",
    "load_dataset": "datasets",
    "to_frame": "frames",
    "zero_terminal_snr": "diffusion",
}

__all__ = [
    "ConditionalDiffusion",
    "DataError",
    "DataWarning",
    "Forecast",
    "Forecaster",
    "Given",
    "JointForecast",
    "NoiseSchedule",
    "OptionError",
    "Options",
    "Recalibration",
    "SavedModelError",
    "TimeGradEstimator",
    "TimeGradPredictor",
    "TimediffError",
    "Total",
    "from_long",
    "from_wide",
    "group_series",
    "holiday_features",
    "list_datasets",
    "load_dataset",
    "to_frame",
    "zero_terminal_snr",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'timediff' has no attribute {name!r}")
    return getattr(import_module(f"timediff.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
