"""Data sets drawn from a law, and the law as a forecaster of them."""

import numpy as np
import pandas as pd
from gluonts.core.component import validated

from timediff.baselines.base import SimpleForecast, at_least
from timediff.datasets import ForecastDataset
from timediff.entries import Panel
from timediff.errors import DataError, OptionError
from timediff.synthetic.drawn import LAWS
from timediff.synthetic.law import Law

START = pd.Period("2020-01-01 00:00", "h")
"""Time 0 of every generated data set: midnight."""


class OraclePredictor(SimpleForecast):
    """The law that the data were drawn from, as a forecaster: no expected score can be better.

    A GluonTS predictor like the simple forecasts of :mod:`timediff.baselines`: its sample paths are
    those of the exact predictive law given each entry's whole history.

    Args:
        law: name of a law; with ``num_series`` and ``seed`` as in :func:`generate`.
        prediction_length: P, steps to forecast.
        num_series: D.
        seed: of the law's coefficients, not of the paths.

    Raises:
        OptionError: an unknown law, or a number that is too small.
    """

    @validated()
    def __init__(
        self, law: str, prediction_length: int, num_series: int = 8, seed: int = 0
    ) -> None:
        super().__init__(prediction_length)
        self.law = build_law(law, num_series, seed)

    def history_needed(self) -> tuple[int, str]:
        """The steps that the next one depends on."""
        return max(self.law.memory, 1), "the law's memory"

    def sample(self, panel: Panel, count: int, rng: np.random.Generator) -> np.ndarray:
        """Sample paths ``(count, P, D)`` of one entry.

        Raises:
            DataError: the entry is not hourly, has another number of series than the law, or a gap.
        """
        if panel.start.freq != START.freq:
            raise DataError(
                f"{panel.title} has frequency {panel.start.freqstr!r}, the law {START.freqstr!r}"
            )
        start = panel.start.ordinal - START.ordinal
        return self.law.sample(panel.values, self.prediction_length, count, rng, start)


def build_law(law: str, num_series: int, seed: int) -> Law:
    """The law of this name with the coefficients that belong to a seed.

    Raises:
        OptionError: an unknown law, no series, or a negative seed.
    """
    at_least(1, num_series=num_series)
    at_least(0, seed=seed)
    return LAWS.build(law, num_series=num_series, seed=seed)


def generate(
    law: str = "var",
    num_series: int = 8,
    length: int = 5000,
    prediction_length: int = 24,
    windows: int = 28,
    seed: int = 0,
) -> ForecastDataset:
    """Draw hourly series from a law that is known.

    The same arguments always give the same data, as far as NumPy's generator does (float32, the
    stream of ``PCG64``). ``load_dataset("generated_var")`` is ``generate("var")``.

    Args:
        law: "var", "seasonal_var", "regime_switching", "heavy_tails" or "copula", see
            :mod:`timediff.synthetic.drawn`.
        num_series: D.
        length: steps to train on.
        prediction_length: P, steps in a test window.
        windows: test windows, one after another, after the training data.
        seed: of the coefficients and of the series.

    Returns:
        The data set; its ``oracle`` is the law as a forecaster.

    Raises:
        OptionError: an unknown law, or a number that is too small.
    """
    at_least(1, prediction_length=prediction_length, windows=windows)
    known = build_law(law, num_series, seed)
    if length < known.memory:
        raise OptionError(f"length must be {known.memory} or more for {law!r}; got {length}")
    total = length + windows * prediction_length
    values = known.simulate(total, np.random.default_rng([seed, 1]))[0].T.astype(np.float32)
    name, columns = f"generated_{law}", [f"s{i}" for i in range(num_series)]
    ends = [length + i * prediction_length for i in range(windows + 1)]
    train, *test = (
        {"start": START, "target": values[:, :end], "item_id": name, "info": {"columns": columns}}
        for end in ends
    )
    title = f"Generated: {law.replace('_', ' ')}, {num_series} series"
    card = {"name": name, "title": title, "source": "timediff.synthetic", "law": law, "seed": seed}
    oracle = OraclePredictor(law, prediction_length, num_series, seed)
    return ForecastDataset(
        name, title, START.freqstr, prediction_length, columns, [train], test, card, oracle
    )
