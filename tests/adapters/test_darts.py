"""Darts: joint samples keep their places, stamps and names."""

import numpy as np
import pandas as pd
import pytest

from timediff import DataError

pytest.importorskip("darts")

from darts import TimeSeries

from timediff.adapters.darts import from_darts, to_darts


def test_a_forecast_is_a_stochastic_series(forecaster):
    forecast = forecaster.predict(num_samples=7)
    series = to_darts(forecast)
    assert (series.n_timesteps, series.n_components, series.n_samples) == (6, 3, 7)
    assert list(series.components) == ["a", "b", "c"]
    np.testing.assert_array_equal(series.all_values()[2, 1], forecast.samples[:, 2, 1])
    pd.testing.assert_index_equal(series.time_index, forecast.index, check_names=False)
    total = series.sum(axis=1).all_values()[:, 0]  # Darts' own joint sum
    np.testing.assert_allclose(total, forecast.samples.sum(2).T, rtol=1e-6)


def test_a_series_forecasts_like_its_table(forecaster, table):
    series = TimeSeries.from_dataframe(table)
    pd.testing.assert_frame_equal(from_darts(series), table, check_names=False, check_dtype=False)
    ours, theirs = (forecaster.predict(data, num_samples=2) for data in (table, from_darts(series)))
    np.testing.assert_array_equal(ours.samples, theirs.samples)


def test_a_series_of_one_step_and_a_zone(forecaster, table):
    zoned = table.tz_localize("UTC").tz_convert("Europe/Berlin")
    series = to_darts(forecaster.predict(zoned, num_samples=2))
    assert series.start_time() == pd.Timestamp("2024-01-11 00:00")


def test_what_is_no_history_is_an_error(forecaster):
    with pytest.raises(DataError, match="7 samples"):
        from_darts(to_darts(forecaster.predict(num_samples=7)))
    with pytest.raises(DataError, match="whole numbers"):
        from_darts(TimeSeries.from_values(np.zeros((5, 1))))
