"""What a trained model finds surprising, as a table."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from tests.conftest import QUICK, entry, quick_estimator, series
from timediff import DataError, Forecaster, OptionError, TimediffError
from timediff.reading import Features

P = 6


def table(length: int = 240, tz: str | None = "Europe/Berlin") -> pd.DataFrame:
    index = pd.date_range("2024-01-01", periods=length, freq="h", tz=tz)
    return pd.DataFrame(series(300)[:, :length].T, index, ["a", "b", "c"])


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    """A forecaster that has seen 200 hours. Not to be changed."""
    options = {**QUICK, "prior_epochs": 5, "num_batches_per_epoch": 20, "prior_rows": 64}
    return Forecaster(P, seed=0, **options).fit(table(200))


def test_the_table_has_the_stamps_of_the_data(fitted):
    frame = table(230)
    before = frame.copy(deep=True)
    found = fitted.log_likelihood(frame[["c", "a", "b"]])
    assert_frame_equal(frame, before)
    assert found.index.equals(frame.index) and str(found.index.tz) == "Europe/Berlin"
    assert list(found) == ["bound", "flow", "observed", "beyond"]
    assert (found["observed"] == 3).all() and (found["beyond"] <= 3).all()
    told = found["bound"].notna()
    assert told[-120:].all() and not told[:40].any() and told.sum() % P == 0
    assert (told == found["flow"].notna()).all()
    close = abs(found["bound"] - found["flow"])[told] / abs(found["flow"][told]).clip(lower=1)
    assert close.median() < 0.3
    predictor = fitted.to_gluonts()
    (same,) = predictor.log_likelihood([{**fitted.kept.read(frame, Features()).entries["frame"]}])
    assert_frame_equal(same, found, check_freq=False)


def test_the_kept_history_and_its_last_steps(fitted):
    whole = fitted.log_likelihood()
    assert whole.index.equals(table(200).index)
    assert_frame_equal(whole, fitted.log_likelihood(table(200)))
    for last in (1, 7, 12):
        part = fitted.log_likelihood(last=last, flow_steps=0)
        assert len(part) == last and part["flow"].isna().all() and part["bound"].notna().all()
        assert np.allclose(part["bound"], whole["bound"][-last:], atol=1e-3)
    small = fitted.log_likelihood(batch_size=2, device="cpu")
    assert np.allclose(small["bound"], whole["bound"], atol=1e-3, equal_nan=True)


def test_a_planted_anomaly_is_found(fitted):
    """Of one series, at one hour, well within the range that the series has."""
    frame = table(260)
    at = frame.index[229]
    usual = fitted.log_likelihood(frame, last=60)
    frame.loc[at, "b"] += 2.0 if frame.loc[at, "b"] < 5 else -2.0
    assert table()["b"].min() < frame.loc[at, "b"] < table()["b"].max()
    found = fitted.log_likelihood(frame, last=60)
    for name in ("bound", "flow"):
        ordered = found[name].sort_values()
        assert ordered.index[0] == at and ordered.iloc[0] < ordered.iloc[1] - 10
        assert ordered.iloc[0] < usual[name].min() - 10


def test_what_comes_later_changes_nothing(fitted):
    """Whole horizons are counted from the end: those before the last do not know of it."""
    frame, other = table(260), table(260)
    other.iloc[-P:] = 9.0
    found, changed = (fitted.log_likelihood(f, last=24) for f in (frame, other))
    assert np.allclose(found["bound"][:-P], changed["bound"][:-P], atol=1e-4)
    assert (abs(found["bound"][-P:] - changed["bound"][-P:]) > 1).any()


def test_units_change_the_density_by_their_logarithm():
    """The same data in other units, with a model trained in these: 3 series, a factor of 2."""
    found = []
    for factor in (1.0, 2.0):
        model = quick_estimator(prior_epochs=0).train([{**entry(), "target": factor * series()}])
        data = [{**entry(), "target": factor * series()}]
        found.append(next(model.log_likelihood(data, last=12))["flow"].to_numpy())
    assert np.allclose(found[0] - found[1], 3 * np.log(2.0), atol=0.02)


def test_missing_values(fitted):
    frame = table(260)
    frame.iloc[-8, 0] = np.nan
    frame.iloc[-4] = np.nan
    found = fitted.log_likelihood(frame, last=12)
    assert found["observed"].tolist() == [3, 3, 3, 3, 2, 3, 3, 3, 0, 3, 3, 3]
    missing = found["bound"].isna()
    assert missing.tolist() == [step == 8 for step in range(12)]
    usual = fitted.log_likelihood(table(260), last=12)
    one = found["bound"].iloc[4] - usual["bound"].iloc[4]
    assert abs(one) < 4  # a series less, neither a jump
    assert np.allclose(found["bound"].iloc[:4], usual["bound"].iloc[:4], atol=1e-4)
    late = table(260)
    late.iloc[:190, 1] = np.nan
    late = fitted.log_likelihood(late)
    assert late["bound"].notna().to_numpy().argmax() == 194  # 260 - 11 * 6, the first after 190
    mask = {**entry(), "observed_values": np.ones((3, 240))}
    mask["observed_values"][1, -2] = 0
    (masked,) = fitted.predictor.log_likelihood([mask], last=2)
    assert masked["observed"].tolist() == [2, 3]


def test_groups_and_series_without_names(fitted):
    forecaster = Forecaster(P, seed=0, **QUICK).fit({"north": table(), 7: table(200)})
    found = forecaster.log_likelihood(flow_steps=2)
    assert list(found) == ["north", 7] and len(found[7]) == 200
    alone = quick_estimator().train([{**entry(dim=1), "target": series(dim=1)[0]}])
    (of_one,) = alone.log_likelihood([{**entry(dim=1), "target": series(dim=1)[0]}], last=6)
    assert of_one["bound"].notna().all()


@pytest.mark.parametrize("options", [{"preset": "paper"}, {"prior": False}], ids=str)
def test_models_without_a_prior(options):
    predictor = quick_estimator(**options).train([entry()])
    data = entry()
    data["target"][2, -3] = np.nan
    (found,) = predictor.log_likelihood([data], last=12, flow_steps=5)
    expected = [i != 9 for i in range(12)]
    assert found["bound"].notna().tolist() == found["flow"].notna().tolist() == expected


def test_known_features_are_those_of_their_time():
    rng = np.random.default_rng(0)
    data = {**entry(), "feat_dynamic_real": rng.standard_normal((1, 240 + P))}
    predictor = quick_estimator().train([data])
    (found,) = predictor.log_likelihood([data], last=12, flow_steps=2)
    assert found["bound"].notna().all()
    with pytest.raises(DataError, match="feat_dynamic_real"):
        next(predictor.log_likelihood([entry()], last=12))


def test_errors_name_series_time_and_the_way_out(fitted):
    with pytest.raises(
        DataError, match=r"has 6 steps from 2024-01-01 00:00.*series 'a'.* begins.*update"
    ):
        fitted.log_likelihood(table(6))
    late = table()
    late.iloc[:238, 1] = np.nan
    with pytest.raises(DataError, match=r"'b'.* begins at 2024-01-10 22:00.*more rows"):
        fitted.log_likelihood(late)
    with pytest.raises(DataError, match="no series 'c'"):
        fitted.log_likelihood(table()[["a", "b"]])
    for options in ({"last": 0}, {"draws": 0}, {"flow_steps": -1}, {"seed": -1}):
        with pytest.raises(OptionError, match=next(iter(options))):
            fitted.log_likelihood(**options)
    with pytest.raises(OptionError, match="learned no variance"):
        fitted.log_likelihood(variance="learned")
    with pytest.raises(TimediffError, match="not fitted"):
        Forecaster(P).log_likelihood()
    empty = Forecaster.from_predictor(fitted.predictor)
    with pytest.raises(DataError, match=r"no history.*log_likelihood\(data\)"):
        empty.log_likelihood()
