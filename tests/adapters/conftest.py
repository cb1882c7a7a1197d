"""A fitted forecaster that the adapters are tested with."""

import numpy as np
import pandas as pd
import pytest

import timediff
from tests.conftest import QUICK, series


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    """240 hours of three series with a gap. Not to be changed."""
    frame = pd.DataFrame(
        series().T, pd.date_range("2024-01-01", periods=240, freq="h"), list("abc")
    )
    frame.iloc[100:104, 1] = np.nan
    return frame


@pytest.fixture(scope="session")
def forecaster(table) -> timediff.Forecaster:
    """Fitted to the table, six hours ahead. Not to be changed."""
    return timediff.Forecaster(6, seed=0, **QUICK).fit(table)
