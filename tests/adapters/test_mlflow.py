"""MLflow: a saved or logged forecaster forecasts as it did before."""

import numpy as np
import pandas as pd
import pytest

from tests.conftest import QUICK
from timediff import DataError, Forecaster, TimediffError

pytest.importorskip("mlflow", minversion="2.14")

import mlflow

from timediff.adapters import mlflow as flavor


@pytest.fixture
def uri(forecaster, tmp_path, monkeypatch):
    """Of a model that was logged to a folder of its own."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    try:
        with mlflow.start_run():
            yield flavor.log_model(forecaster, "model").model_uri
    finally:
        mlflow.set_tracking_uri(before)


def test_a_logged_model_predicts_wide_and_long_tables(uri, forecaster, table):
    model = mlflow.pyfunc.load_model(uri)
    known = table.iloc[:-10]
    wanted = forecaster.predict(known, num_samples=20, seed=5).to_frame(level=[90])
    params = {"num_samples": 20, "level": [90.0], "seed": 5}
    wide = model.predict(known, params=params)
    pd.testing.assert_frame_equal(wide, wanted)
    served = known.rename_axis("ds").reset_index()  # as a request has it
    served["ds"] = served["ds"].astype(str)
    again = model.predict(served, params=params)
    np.testing.assert_array_equal(again["lo-90"], wanted["lo-90"])
    long = served.melt("ds", var_name="unique_id", value_name="y")
    got = model.predict(long, params=params)
    assert list(got.columns) == ["unique_id", "ds", "mean", "lo-90", "hi-90"]
    np.testing.assert_array_equal(got["lo-90"], wanted["lo-90"])


def test_without_a_table_the_saved_history_is_used(uri, forecaster):
    model = mlflow.pyfunc.load_model(uri)
    wanted = forecaster.predict(num_samples=100).to_frame(level=[80, 95])
    pd.testing.assert_frame_equal(model.predict(pd.DataFrame()), wanted)
    paths = model.predict(pd.DataFrame(), params={"num_samples": 2, "samples": True})
    assert len(paths) == 2 * 6 * 3 and "sample" in paths


def test_a_response_has_no_periods(forecaster, table):
    history = table.to_period("h")
    wanted = forecaster.predict(history, num_samples=2).index.start_time
    params = {"num_samples": 2, "samples": True}
    for options in (params, {"num_samples": 2}):
        got = flavor.PyFunc(forecaster).predict(history, options)
        assert got["timestamp"].unique().tolist() == list(wanted)


def test_the_forecaster_itself_comes_back(uri, forecaster, tmp_path):
    loaded = flavor.load_model(uri)
    assert isinstance(loaded, Forecaster)
    np.testing.assert_array_equal(
        loaded.predict(num_samples=3).samples, forecaster.predict(num_samples=3).samples
    )


def test_a_folder_holds_no_pickle(forecaster, tmp_path):
    flavor.save_model(forecaster, tmp_path / "m", history=False, metadata={"team": "energy"})
    files = {path.suffix for path in (tmp_path / "m").rglob("*") if path.is_file()}
    assert files <= {"", ".safetensors", ".json", ".md", ".txt", ".yaml"}
    with pytest.raises(TimediffError, match="there is no history"):
        mlflow.pyfunc.load_model(str(tmp_path / "m")).predict(pd.DataFrame())


def test_a_model_of_another_flavour_is_refused(tmp_path):
    class Other(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return model_input

    mlflow.pyfunc.save_model(tmp_path / "o", python_model=Other(), pip_requirements=[])
    with pytest.raises(mlflow.MlflowException, match="not 'timediff'"):
        flavor.load_model(tmp_path / "o")


def promoted(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Series that a promotion raises by 4; what is known ahead, of the past only, and static."""
    index = pd.date_range(table.index[0], periods=len(table) + 6, freq="h")
    rng = np.random.default_rng(1)
    known = pd.DataFrame({"promo": (rng.random(len(index)) < 0.4) * 1.0}, index)
    past = pd.DataFrame({"wind": rng.standard_normal(len(table))}, table.index)
    static = pd.DataFrame({"size": [1.0, 2.0, 3.0], "kind": ["x", "y", "x"]}, list("abc"))
    return table + 4 * known[:-6].to_numpy(), known, past, static


def served(frame: pd.DataFrame) -> pd.DataFrame:
    """As a request has it."""
    return frame.rename_axis("ds").reset_index().astype({"ds": str})


@pytest.fixture(scope="module")
def covered(table) -> Forecaster:
    """Fitted to features of the group. Not to be changed."""
    frame, known, past, static = promoted(table)
    forecaster = Forecaster(6, seed=0, **QUICK)
    return forecaster.fit(frame, known=known, past=past, static=static)


def test_a_table_holds_features_and_what_is_known_ahead(covered, table):
    frame, known, past, static = promoted(table)
    model = flavor.PyFunc(covered)
    known = known.assign(promo=1 - known["promo"])  # not what the saved history has
    wanted = covered.predict(frame, known=known, past=past, static=static).to_frame(level=[80, 95])
    wanted = wanted.rename(columns={"timestamp": "ds"})
    whole = served(pd.concat([frame, past, known], axis=1))
    assert whole["a"].isna().sum() == 6
    pd.testing.assert_frame_equal(model.predict(whole), wanted)
    pd.testing.assert_frame_equal(model.predict(whole.sample(frac=1, random_state=0)), wanted)
    long = whole.melt(["ds", "promo", "wind"], var_name="unique_id", value_name="y")
    got = model.predict(long)
    assert list(got.columns) == ["unique_id", "ds", *wanted.columns[2:]]
    np.testing.assert_array_equal(got["lo-80"], wanted["lo-80"])
    with pytest.raises(DataError, match=r"'promo'.*2024-01-11 05:00"):
        model.predict(whole.iloc[:-1])
    with pytest.raises(DataError, match="no column 'promo', a feature that the model"):
        model.predict(whole.drop(columns="promo"))
    for request in (whole, long):
        with pytest.raises(DataError, match="no column 'wind', a feature that the model"):
            model.predict(request.drop(columns="wind"))
    long.loc[long.index[5], "promo"] += 1
    with pytest.raises(DataError, match="not the same for all series at 2024-01-01 05:00"):
        model.predict(long)


def test_rows_without_values_go_on_from_the_saved_history(covered, table):
    _, known, _, _ = promoted(table)
    ahead = 1 - known[-6:]
    wanted = covered.predict(known=ahead).to_frame(level=[80, 95])
    assert (wanted["mean"] != covered.predict().to_frame()["mean"]).all()
    model = flavor.PyFunc(covered)
    pd.testing.assert_frame_equal(model.predict(served(ahead)), wanted)
    empty = served(ahead.assign(a=np.nan, b=np.nan, c=np.nan))
    pd.testing.assert_frame_equal(model.predict(empty), wanted)
    long = empty.melt(["ds", "promo"], var_name="unique_id", value_name="y")
    pd.testing.assert_frame_equal(model.predict(long), wanted)


@pytest.mark.parametrize("history", [True, False])
def test_features_of_each_series_and_groups(table, tmp_path, history):
    frame, known, _, _ = promoted(table)
    long = served(pd.concat([frame, known], axis=1))
    long = long.melt(["ds", "promo"], var_name="unique_id", value_name="y")
    long.loc[long["unique_id"] == "b", "promo"] = 0.5
    long = pd.concat([long.assign(area="north"), long.assign(area="south", y=long["y"] + 1)])
    past = long[long["y"].notna()]
    fit = Forecaster(6, seed=0, **QUICK).fit(past, known=["promo"], group_column="area")
    fit.save(tmp_path / "m", history=history)
    forecaster = Forecaster.load(tmp_path / "m")
    future = long[long["y"].isna()].drop(columns="y")
    wanted = fit.predict(past, known=["promo"], future=future).to_frame(level=[80, 95])
    model = flavor.PyFunc(forecaster)
    pd.testing.assert_frame_equal(model.predict(long), wanted)
    if history:
        pd.testing.assert_frame_equal(model.predict(future), wanted)
        some = fit.predict(future=future)["north"].samples
        later = future.assign(promo=1 - future["promo"])
        other = forecaster.predict(future=future)
        np.testing.assert_array_equal(other["north"].samples, some)
        only = pd.concat([future[future["area"] == "north"], later[later["area"] == "south"]])
        assert not np.array_equal(forecaster.predict(future=only)["south"].samples, some)
    mixed = pd.concat([long[long["area"] == "north"], future[future["area"] == "south"]])
    with pytest.raises(DataError, match="group 'south' has no observation"):
        model.predict(mixed)
