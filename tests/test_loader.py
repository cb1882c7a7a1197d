"""Windows by index, against slicing written out; seasons and lags from the frequency."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from tests.conftest import entry
from timediff.entries import read_dataset
from timediff.errors import OptionError
from timediff.history import fill_gaps, past_means, seasonal_means
from timediff.loader import PoolLoader, WindowLoader
from timediff.network import Innovations
from timediff.seasonality import (
    calendar,
    default_lags,
    default_lookback,
    filling_season,
    knows_years,
    level_span,
    num_calendar,
    published_lags,
    seasonal_offsets,
    seasons,
)
from timediff.store import SeriesStore
from timediff.windows import WindowSpec

SPEC = WindowSpec(
    freq="h",
    prediction_length=6,
    context_length=8,
    lags=(1, 3, 24),
    season=24,
)
PRIOR = WindowSpec(
    freq="h",
    prediction_length=6,
    context_length=12,
    season=24,
    lookback=10,
    seasonal=(24, 48, 72),
    profiles=(24,),
    level=6,
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
        np.testing.assert_allclose(batch.loc[row, 0], x.mean(0), rtol=1e-5)
        np.testing.assert_allclose(batch.scale[row, 0], x.std(0), rtol=1e-5)
        assert (batch.floor[row] == 0.0).all()  # nothing in the data is negative
    assert batch.rows is None


def test_pasts_are_what_slicing_gives():
    entries = [entry(200), entry(150, seed=1)]
    store = SeriesStore(read_dataset(entries, "h"), PRIOR)
    windows = store.gather(torch.tensor([1, 0]), torch.tensor([90, 194]))
    number = 0
    for i, start in [(1, 90), (0, 194)]:
        x = entries[i]["target"]
        for origin in (start - 12, start - 6, start):  # blocks of the context, and the horizon
            single = store.gather_rows(
                torch.full((3,), i), torch.full((3,), origin), torch.arange(3)
            )
            for d in range(3):
                for rows, n in ((windows.rows, number), (single.rows, d)):
                    np.testing.assert_array_equal(rows.recent[n], x[d, origin - 10 : origin])
                    past = [x[d, origin - k : origin - k + 6] for k in PRIOR.seasonal]
                    np.testing.assert_array_equal(rows.seasonal[n], np.stack(past, axis=1))
                    np.testing.assert_allclose(rows.past[n], x[d, :origin].mean(), rtol=1e-5)
                    many = [x[d, t - 24 :: -24][:32].mean() for t in range(origin, origin + 6)]
                    np.testing.assert_allclose(rows.profile[n, :, 0], many, rtol=1e-5)
                    assert rows.series[n] == d
                    np.testing.assert_allclose(rows.scale[n], x[d].std(), rtol=1e-5)
                    change = np.abs(np.diff(x[d])).mean()
                    np.testing.assert_allclose(rows.change[n], change, rtol=1e-5)
                    late = [np.abs(x[d, k:] - x[d, :-k]).mean() for k in (6, *PRIOR.seasonal)]
                    unit = min((change + late[0]) / 2, *late[1:])
                    np.testing.assert_allclose(rows.unit[n], unit, rtol=1e-5)
                np.testing.assert_array_equal(single.target[d], x[d, origin : origin + 6])
                np.testing.assert_array_equal(
                    single.rows.calendar[d], windows.rows.calendar[number]
                )
                number += 1
    assert number == len(windows.rows.recent)


def test_units_of_constant_and_empty_series_are_positive():
    data = entry(100)
    data["target"][0], data["target"][1] = 7.0, np.nan
    data["target"][2, 5:] = np.nan
    store = SeriesStore(read_dataset([data], "h"), PRIOR)
    for table in (store.unit, store.change, store.deviation):
        assert (table > 0).all() and torch.isfinite(table).all()


def test_a_series_that_fell_silent_long_ago_goes_on_from_its_last_value():
    data = entry(400)
    data["target"][1, 200:] = np.nan
    store = SeriesStore(read_dataset([data], "h"), PRIOR, for_forecast=True)
    assert store.lengths[0] == PRIOR.reach < 200
    rows = store.gather(torch.tensor([0]), torch.tensor(store.lengths)).rows
    known = rows.series == 1
    season = data["target"][1, 176:200]
    assert np.isin(rows.recent[known].numpy(), season).all()
    np.testing.assert_allclose(rows.past[known][-1], data["target"][1, :200].mean(), rtol=1e-5)


def test_a_series_seen_every_other_step_has_a_unit_of_its_own_size():
    data = entry(400)
    data["target"][1, ::2] = np.nan
    store = SeriesStore(read_dataset([data], "h"), dataclasses.replace(PRIOR, seasonal=(25,)))
    assert store.unit[0, 1] > 0.1 * store.deviation[0, 1]
    assert store.change[0, 1] == store.deviation[0, 1]  # no change over one step is known


def test_before_the_first_value_nothing_is_observed():
    store = SeriesStore(read_dataset([entry(100)], "h"), SPEC)
    batch = store.gather(torch.tensor([0]), torch.tensor([1]))
    assert batch.observed[0].any(-1).tolist() == [False] * 7 + [True] * 7
    assert all(torch.isfinite(part).all() for part in batch if part is not None)


def test_a_scale_of_the_context_sees_the_context_only():
    spec = dataclasses.replace(SPEC, scale_window="context", scaling="mean")
    data = entry(200)
    batch = SeriesStore(read_dataset([data], "h"), spec).gather(
        torch.tensor([0]), torch.tensor([90])
    )
    expected = np.abs(data["target"][:, 82:90]).mean(1)
    np.testing.assert_allclose(batch.scale[0, 0], expected, rtol=1e-5)


def test_a_scale_of_the_context_leaves_out_what_was_not_observed():
    spec = dataclasses.replace(SPEC, scale_window="context", scaling="mean")
    data = entry(200)
    data["target"][1, 84:87] = np.nan
    store = SeriesStore(read_dataset([data], "h"), spec)
    store.values[store.first[0] + 85, 1] = 1e6  # in place of what fills the gap
    batch = store.gather(torch.tensor([0, 0]), torch.tensor([90, 150]))
    for row, start in enumerate((90, 150)):
        expected = np.nanmean(np.abs(data["target"][:, start - 8 : start]), axis=1)
        np.testing.assert_allclose(batch.scale[row, 0], expected, rtol=1e-5)


def test_a_forecast_keeps_only_what_it_looks_back_to_and_sees_the_same():
    panels = read_dataset([entry(200)], "h")
    whole, kept = SeriesStore(panels, PRIOR), SeriesStore(panels, PRIOR, for_forecast=True)
    assert kept.lengths == [PRIOR.reach] and PRIOR.reach < 200
    a = whole.gather(torch.tensor([0]), torch.tensor([194]))
    shorter = [dataclasses.replace(panels[0], values=panels[0].values[:194])]
    kept = SeriesStore(shorter, PRIOR, for_forecast=True)
    b = kept.gather(torch.tensor([0]), torch.tensor(kept.lengths))
    np.testing.assert_array_equal(a.rows.seasonal, b.rows.seasonal)
    np.testing.assert_array_equal(a.rows.recent, b.rows.recent)
    np.testing.assert_allclose(a.rows.past, b.rows.past, rtol=1e-6)
    np.testing.assert_allclose(a.rows.profile, b.rows.profile, rtol=1e-6)
    np.testing.assert_array_equal(a.target[:, :12], b.target[:, :12])
    np.testing.assert_array_equal(a.calendar, b.calendar)
    assert not b.observed[:, 12:].any()


@pytest.mark.parametrize("skipped", [0, 3, 37])
@pytest.mark.parametrize("first", [1, 2])
def test_means_of_the_past_are_what_they_say(skipped, first):
    g = np.random.default_rng(0)
    x = g.normal(size=(41 * 7, 2)).astype("f4")
    x[g.random(x.shape) < 0.2] = np.nan
    x[:20, 0] = np.nan  # a late start
    means = past_means(x, skipped)
    seasonal = seasonal_means(x, 7, first, skipped, future=7 * first)
    assert len(means) == len(x) - skipped + 1 and len(seasonal) == len(x) - skipped + 7 * first
    for row, step in enumerate(range(skipped, len(x) + 1)):
        for d in range(2):
            before = x[:step, d][np.isfinite(x[:step, d])]
            expected = before.mean() if len(before) else np.nanmean(x[:, d])
            np.testing.assert_allclose(means[row, d], expected, rtol=1e-4, atol=1e-5)
    for row, step in enumerate(range(skipped, len(x) + 7 * first)):
        past = [x[t] for k in range(first, first + 32) if 0 <= (t := step - 7 * k) < len(x)]
        for d in range(2):
            values = [v[d] for v in past if np.isfinite(v[d])]
            if values:
                np.testing.assert_allclose(seasonal[row, d], np.mean(values), rtol=1e-4, atol=1e-5)
            else:
                assert np.isnan(seasonal[row, d])


@pytest.mark.parametrize("season", [None, 24])
def test_the_end_of_a_history_is_filled_as_in_the_whole(season):
    rng = np.random.default_rng(0)
    cut = 0
    for share in (0.0, 0.001, 0.02, 0.3) * 5:
        values = rng.standard_normal((400, 3)).astype(np.float32)
        values[rng.random(values.shape) < share] = np.nan
        values[380:, 1] = np.nan
        before = values[400 - 60 - (season or 1) : -60]
        cut += not np.isnan(before).any()
        whole = fill_gaps(values, season)
        np.testing.assert_array_equal(fill_gaps(values, season, 60), whole[-60:])
        np.testing.assert_array_equal(fill_gaps(values, season, 400), whole)
    assert 0 < cut < 20


def test_gaps_are_filled_from_the_past():
    season = np.tile(np.arange(24.0, dtype=np.float32), 4)[:, None]
    gap = season.copy()
    gap[50:70] = np.nan
    gap[:3] = np.nan
    filled = fill_gaps(gap, 24)
    np.testing.assert_array_equal(filled[50:70], season[26:46])  # as a day before
    np.testing.assert_allclose(filled[:3], np.nanmean(gap))
    later = gap.copy()
    later[80:] = 1e6
    np.testing.assert_array_equal(fill_gaps(later, 24)[50:80], filled[50:80])
    assert np.isnan(gap[0, 0]), "the argument was changed"


def test_a_short_gap_goes_on_as_the_seasons_before_did_where_that_is_better():
    rng = np.random.default_rng(0)
    step = np.arange(24 * 40)
    daily = 10 * np.sin(2 * np.pi * step / 24) + 0.3 * rng.standard_normal(len(step)).cumsum()
    walk = rng.standard_normal(len(step)).cumsum()
    whole = np.stack([daily, walk], axis=1).astype(np.float32)
    gap = whole.copy()
    gap[rng.random(whole.shape) < 0.2] = np.nan
    gap[:48] = whole[:48]
    filled, missing = fill_gaps(gap, 24), np.isnan(gap)
    last = pd.DataFrame(gap).ffill().to_numpy()
    np.testing.assert_array_equal(filled[~missing], gap[~missing])
    short = ~np.isnan(pd.DataFrame(gap).ffill(limit=2)[1].to_numpy())
    np.testing.assert_array_equal(filled[short, 1], last[short, 1])  # the last value of a walk
    error, carried = (np.abs(x - whole)[missing[:, 0], 0].mean() for x in (filled, last))
    assert error < 0.4 * carried
    # by the mean of the last eight changes, of those that are known
    known = np.flatnonzero(missing[:, 0] & ~missing[np.maximum(step - 1, 0), 0] & (step > 400))
    for t in known[:20]:
        changes = [gap[t - k, 0] - gap[t - 1 - k, 0] for k in range(24, 24 * 9, 24)]
        past = [gap[t - k, 0] for k in range(24, 24 * 9, 24)] + [gap[t - 1, 0]]
        expected = np.clip(gap[t - 1, 0] + np.nanmean(changes), np.nanmin(past), np.nanmax(past))
        assert filled[t, 0] == pytest.approx(expected, abs=1e-4)
    # what comes later is not looked at
    later = gap.copy()
    later[700:] = rng.standard_normal((len(step) - 700, 2)) * 1e3
    np.testing.assert_array_equal(fill_gaps(later, 24)[:700], filled[:700])


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


@pytest.mark.parametrize(("spec", "rows"), [(SPEC, False), (PRIOR, False), (PRIOR, True)])
@pytest.mark.parametrize("ahead", [1, 12_000, 10**9])
def test_batches_are_the_same_however_many_are_gathered_together(monkeypatch, spec, rows, ahead):
    values = np.arange(400.0).reshape(2, 200)
    values[0, 60:63] = np.nan
    panels = read_dataset([entry(200) | {"target": values}, entry(120, 2)], "h")
    store = SeriesStore(panels, dataclasses.replace(spec, scale_window="context"))
    windows = torch.tensor([[i, start] for i in (0, 1) for start in range(45, 100)])
    count = len(windows) * (2 if rows else 1)

    def flat(parts):
        if parts is None or isinstance(parts, torch.Tensor):
            return [] if parts is None else [parts]
        return [tensor for part in parts for tensor in flat(part)]

    monkeypatch.setattr("timediff.loader.AHEAD", ahead)
    for given in ({}, {"num_batches": 9}):
        picks = torch.arange(count).split(16)
        if given:
            generator = torch.Generator().manual_seed(3)
            picks = [torch.randint(count, (16,), generator=generator) for _ in range(9)]
            given = given | {"generator": torch.Generator().manual_seed(3)}
        batches = list(WindowLoader(store, windows, 16, rows=rows, **given))
        assert len(batches) == len(picks)
        for batch, pick in zip(batches, picks, strict=True):
            if rows:
                alone = store.gather_rows(*windows[pick // 2].unbind(1), pick % 2)
            else:
                alone = store.gather(*windows[pick].unbind(1))
            for one, other in zip(flat(batch), flat(alone), strict=True):
                assert torch.equal(one, other)


def test_rows_are_drawn_from_all_series_of_all_windows():
    store = SeriesStore(read_dataset([entry(120)], "h"), PRIOR)
    windows = torch.tensor([[0, 90], [0, 100]])
    every = list(WindowLoader(store, windows, 4, rows=True))
    assert [len(batch.target) for batch in every] == [4, 2]
    target = torch.cat([batch.target for batch in every])
    expected = torch.cat([store.gather(w[None, 0], w[None, 1]).target[0, -6:].T for w in windows])
    assert torch.equal(target, expected)
    (drawn,) = WindowLoader(store, windows, 500, 1, torch.Generator().manual_seed(0), rows=True)
    found = {tuple(row) for row in drawn.target.tolist()}
    assert found == {tuple(row) for row in expected.tolist()}


def test_batches_of_a_pool_are_drawn_from_all_of_it():
    w = torch.arange(10.0)[:, None, None].expand(10, 4, 2)
    pool = Innovations(w, w >= 0, torch.zeros(10, 4, 1))
    in_order = [batch.w[:, 0, 0].tolist() for batch in PoolLoader(pool, 4)]
    assert in_order == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    drawn = list(PoolLoader(pool, 8, 20, torch.Generator().manual_seed(0)))  # more than there are
    assert len(drawn) == 20 and all(len(batch.w) == 8 for batch in drawn)
    assert {v for batch in drawn for v in batch.w[:, 0, 0].tolist()} == set(map(float, range(10)))


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


def test_how_far_back_is_capped_by_the_history():
    assert default_lags("h", 10_000, 24) == (1, 2, 3, 24, 48, 168, 336)
    assert default_lags("h", 400, 24) == (1, 2, 3, 24, 48, 168)
    assert default_lags("h", 10, 5) == (1, 2)
    assert default_lags("h", 3, 2) == (1,)
    assert filling_season("h", 10_000, 24) == 168
    assert filling_season("h", 400, 24) == 24
    assert filling_season("h", 50, 24) is None
    assert filling_season("Y", 50, 4) is None
    assert seasonal_offsets("h", 10_000, 24, 4) == (24, 48, 72, 168, 336, 504, 672)
    assert seasonal_offsets("h", 10_000, 36, 2) == (48, 72, 168, 336)
    assert seasonal_offsets("h", 400, 24, 4) == (24, 48, 72, 168)
    assert seasonal_offsets("B", 6000, 30, 3) == (30, 35, 40)
    assert seasonal_offsets("h", 10_000, 24, 0) == ()
    assert seasonal_offsets("YE", 50, 4, 8) == ()
    assert default_lookback("h", 10_000, 24) == 168
    assert default_lookback("h", 10_000, 100) == 200
    assert default_lookback("30min", 10_000, 48) == 336
    assert default_lookback("5min", 10_000, 12) == 288
    assert default_lookback("YE", 50, 4) == 8
    assert default_lookback("h", 60, 24) == 18
    assert default_lookback("h", 4, 2) == 2
    assert (level_span("h", 24), level_span("h", 36), level_span("B", 30)) == (24, 48, 30)
    assert level_span("YE", 4) == 4
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


@pytest.mark.parametrize("freq", ["h", "30min", "D", "B"])
def test_two_years_of_history_bring_the_day_of_the_year(freq):
    year = {"h": 8766, "30min": 17532, "D": 365, "B": 365}[freq]
    assert knows_years(freq, 2 * year) == (freq != "B")  # which has it anyway
    assert not knows_years(freq, 2 * year - 1) and not knows_years("ME", 10_000)
    start = pd.Period("2023-01-02", freq)
    plain, yearly = (calendar(start, 2 * year, freq, flag) for flag in (False, True))
    assert yearly.shape[1] == num_calendar(freq, True)
    assert plain.shape[1] == num_calendar(freq)
    if freq == "B":
        np.testing.assert_array_equal(plain, yearly)
        return
    np.testing.assert_array_equal(yearly[:, :-2], plain)
    spring = pd.period_range(start, periods=2 * year, freq=freq).get_loc(
        pd.Period("2023-04-02 12:00", freq)
    )
    day = yearly[spring, -2:] if isinstance(spring, int) else yearly[spring][0, -2:]
    np.testing.assert_allclose(day, [1.0, 0.0], atol=0.02)  # the 92nd day, a quarter of 366


def test_a_frequency_finer_than_a_second_is_refused():
    with pytest.raises(OptionError, match="aggregate"):
        seasons("10ms")


def test_no_mean_of_the_past_reads_the_horizon():
    rng = np.random.default_rng(0)
    late = rng.normal(size=(400, 2)).astype("f4")
    late[:133, 1] = np.nan  # no value of its season before many a horizon
    spec = WindowSpec("D", 60, 60, 7, lookback=14, seasonal=(63,), profiles=(7,), level=7)
    changed, origin = late.copy(), 160
    changed[origin:] = 1e4
    panels = [
        read_dataset([{"start": pd.Period("2021-01-01", "D"), "target": x.T}], "D")
        for x in (late, changed, late[:origin])
    ]
    one = torch.zeros(2, dtype=torch.long), torch.tensor([origin] * 2), torch.arange(2)
    a, b = (SeriesStore(p, spec).gather_rows(*one).rows.profile for p in panels[:2])
    np.testing.assert_array_equal(a, b)
    forecast = SeriesStore(panels[2], spec, for_forecast=True)
    rows = forecast.gather(torch.tensor([0]), torch.tensor(forecast.lengths)).rows
    np.testing.assert_allclose(rows.profile[-2:], a, rtol=1e-6)  # it reads what training did
