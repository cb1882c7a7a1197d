"""Windows by index, against slicing written out; seasons and lags from the frequency."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from tests.conftest import entry
from timediff.entries import read_dataset
from timediff.errors import OptionError
from timediff.loader import SeriesStore, WindowLoader, WindowSpec, fill_gaps, seasonal_profile
from timediff.seasonality import calendar, default_lags, profile_season, published_lags, seasons

SPEC = WindowSpec(
    freq="h",
    prediction_length=6,
    context_length=8,
    lags=(1, 3, 24),
    season=24,
    profile_seasons=3,
    scaling="standard",
    scale_window="series",
)


def test_a_window_is_what_slicing_gives():
    entries = [entry(200), entry(150, seed=1)]
    store = SeriesStore(read_dataset(entries, "h"), SPEC)
    batch = store.gather(torch.tensor([1, 0]), torch.tensor([90, 194]))
    for row, (i, start) in enumerate([(1, 90), (0, 194)]):
        x = entries[i]["target"].T
        steps = np.arange(start - 8, start + 6)
        np.testing.assert_array_equal(batch.target[row], x[steps])
        assert batch.observed[row].all()
        for n, lag in enumerate(SPEC.lags):
            np.testing.assert_array_equal(batch.lags[row, :, n], x[steps - lag])
        past = np.stack([x[steps - k * 24] for k in (1, 2, 3)])
        np.testing.assert_allclose(batch.profile[row, :, 0], past.mean(0), rtol=1e-5)
        np.testing.assert_allclose(batch.profile[row, :, 1], past.std(0), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(batch.loc[row, 0], x.mean(0), rtol=1e-5)
        np.testing.assert_allclose(batch.scale[row, 0], x.std(0), rtol=1e-5)
        change = np.abs(np.diff(x, axis=0)).mean(0)
        np.testing.assert_allclose(batch.spread[row, 0], change, rtol=1e-5)


def test_before_the_first_value_nothing_is_observed():
    store = SeriesStore(read_dataset([entry(100)], "h"), SPEC)
    batch = store.gather(torch.tensor([0]), torch.tensor([1]))
    assert batch.observed[0].any(-1).tolist() == [False] * 7 + [True] * 7
    assert all(torch.isfinite(part).all() for part in batch)


def test_a_scale_of_the_context_sees_the_context_only():
    spec = dataclasses.replace(SPEC, scale_window="context", scaling="mean")
    data = entry(200)
    batch = SeriesStore(read_dataset([data], "h"), spec).gather(
        torch.tensor([0]), torch.tensor([90])
    )
    expected = np.abs(data["target"][:, 82:90]).mean(1)
    np.testing.assert_allclose(batch.scale[0, 0], expected, rtol=1e-5)


def test_a_forecast_keeps_only_what_it_looks_back_to_and_sees_the_same():
    panels = read_dataset([entry(200)], "h")
    whole, kept = SeriesStore(panels, SPEC), SeriesStore(panels, SPEC, for_forecast=True)
    assert kept.lengths == [SPEC.reach] and SPEC.reach < 200
    a = whole.gather(torch.tensor([0]), torch.tensor([194]))
    shorter = [dataclasses.replace(panels[0], values=panels[0].values[:194])]
    kept = SeriesStore(shorter, SPEC, for_forecast=True)
    b = kept.gather(torch.tensor([0]), torch.tensor(kept.lengths))
    np.testing.assert_allclose(a.profile, b.profile, rtol=1e-5)
    np.testing.assert_array_equal(a.target[:, :8], b.target[:, :8])
    np.testing.assert_array_equal(a.calendar, b.calendar)
    np.testing.assert_array_equal(a.lags[:, :, 2], b.lags[:, :, 2])
    assert not b.observed[:, 8:].any()


def test_the_profile_never_sees_the_horizon():
    """With a horizon longer than the season, the season before is in the horizon, too."""
    x = np.arange(40, dtype=np.float32)[:, None]
    mean, _ = seasonal_profile(x, season=5, num_seasons=2, prediction_length=12)
    np.testing.assert_allclose(mean[30:], x[30:] - np.mean([15, 20]))
    assert (mean[:15] == x.mean()).all()


def test_gaps_are_filled_from_the_past():
    season = np.tile(np.arange(24.0, dtype=np.float32), 4)[:, None]
    gap = season.copy()
    gap[50:70] = np.nan
    gap[:3] = np.nan
    filled = fill_gaps(gap, 24)
    np.testing.assert_array_equal(filled[52:70], season[28:46])  # a day before
    np.testing.assert_array_equal(filled[50:52], gap[[49, 49]])  # a short gap: the last value
    np.testing.assert_allclose(filled[:3], np.nanmean(gap))
    later = gap.copy()
    later[80:] = 1e6
    np.testing.assert_array_equal(fill_gaps(later, 24)[50:80], filled[50:80])
    assert np.isnan(gap[0, 0]), "the argument was changed"


def test_random_batches_are_drawn_from_the_windows_and_repeat_with_the_seed():
    store = SeriesStore(read_dataset([entry(100)], "h"), SPEC)
    windows = torch.tensor([[0, 40], [0, 50]])
    draw = lambda: list(WindowLoader(store, windows, 16, 3, torch.Generator().manual_seed(1)))  # noqa: E731
    one, two = draw(), draw()
    assert len(one) == 3
    allowed = {store.gather(w[None, 0], w[None, 1]).target.sum().item() for w in windows}
    drawn = {row.sum().item() for batch in one for row in batch.target}
    assert {round(v, 2) for v in drawn} == {round(v, 2) for v in allowed}
    assert all(torch.equal(a.target, b.target) for a, b in zip(one, two, strict=True))
    in_order = list(WindowLoader(store, windows.repeat(5, 1), 4))
    assert [len(batch.target) for batch in in_order] == [4, 4, 2]


@pytest.mark.parametrize(
    ("freq", "expected"),
    [
        ("h", (24, 168)),
        ("H", (24, 168)),
        ("2h", (12, 84)),
        ("30min", (48, 336)),
        ("5min", (288, 2016)),
        ("D", (7,)),
        ("B", (5,)),
        ("W", (52,)),
        ("W-MON", (52,)),
        ("ME", (12,)),
        ("QE", (4,)),
        ("YE", ()),
        ("24h", (7,)),
        ("60min", (24, 168)),
    ],
)
@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")
def test_seasons(freq, expected):
    assert seasons(freq) == expected


def test_lags_and_profile_are_capped_by_the_history():
    assert default_lags("h", 10_000, 24) == (1, 2, 3, 24, 48, 168, 336)
    assert default_lags("h", 400, 24) == (1, 2, 3, 24, 48, 168)
    assert default_lags("h", 10, 5) == (1, 2)
    assert default_lags("h", 3, 2) == (1,)
    assert profile_season("h", 10_000, 24) == 168
    assert profile_season("h", 400, 24) == 24
    assert profile_season("h", 50, 24) is None
    assert profile_season("Y", 50, 4) is None
    assert published_lags("h", 5833, 24) == (1, 24, 168)
    assert published_lags("B", 6071, 30) == (1, 2)
    assert published_lags("30min", 1488, 24) == (1, 4, 12, 24, 48)
    assert published_lags("D", 792, 30) == (1, 7, 14)


def test_calendar_features_turn_with_their_fields():
    features = calendar(pd.Period("2024-01-01 00:00", "h"), 200, "h")
    assert features.shape == (200, 4) and features.dtype == np.float32
    np.testing.assert_allclose(features[0], features[168], atol=1e-6)
    np.testing.assert_allclose((features**2).sum(1), 2.0, rtol=1e-6)
    np.testing.assert_allclose(features[6, :2], [1.0, 0.0], atol=1e-6)  # a quarter of a day
    assert calendar(pd.Period("2000", "Y"), 5, "YE").shape == (5, 0)


def test_a_frequency_finer_than_a_second_is_refused():
    with pytest.raises(OptionError, match="aggregate"):
        seasons("10ms")
