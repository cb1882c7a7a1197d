"""The standard set of simple forecasts for a frequency."""

from timediff.baselines.base import SimpleForecast
from timediff.baselines.gaussian import IndependentGaussian
from timediff.baselines.seasonal import PastSeasons, SeasonalNaive
from timediff.baselines.var import VAR
from timediff.baselines.walks import BootstrapReturns, LastValue, RandomWalk
from timediff.seasonality import seasons


def simple_forecasts(
    freq: str, prediction_length: int, history: int | None = None
) -> dict[str, SimpleForecast]:
    """The simple forecasts a result on data of this frequency should be compared with.

    Args:
        freq: frequency of the data, a pandas alias.
        prediction_length: steps to forecast.
        history: steps of the shortest entry to forecast from. Forecasts that need more are left
            out. If None, all are given.

    Returns:
        Predictors by a name for tables, in the order to show them: "last value", "random walk",
        "bootstrap of returns", for each season m of the frequency "seasonal naive (m)" and
        "past seasons (m)", then "independent Gaussian" and "VAR", both with the longest season
        (of which the history holds two).

    Raises:
        OptionError: an unknown frequency, a prediction length below 1, or no statsmodels for VAR.

    Example:
        >>> list(simple_forecasts("D", prediction_length=14))[3:5]
        ['seasonal naive (7)', 'past seasons (7)']
    """
    p = prediction_length
    fitting = [m for m in seasons(freq) if history is None or 2 * m <= history]
    longest = max(fitting, default=1)
    forecasts: dict[str, SimpleForecast] = {
        "last value": LastValue(p),
        "random walk": RandomWalk(p),
        "bootstrap of returns": BootstrapReturns(p),
    }
    for m in fitting:
        forecasts[f"seasonal naive ({m})"] = SeasonalNaive(p, m)
        forecasts[f"past seasons ({m})"] = PastSeasons(p, m)
    # chosen on windows of exchange_rate_nips, traffic and electricity before their test start
    forecasts["independent Gaussian"] = IndependentGaussian(p, longest, max(10, -(-100 // longest)))
    window = max(2000, 2 * longest, min(20 * longest, 5000))
    forecasts["VAR"] = VAR(p, longest, window)
    return {
        name: forecast
        for name, forecast in forecasts.items()
        if history is None or forecast.history_needed()[0] <= history
    }
