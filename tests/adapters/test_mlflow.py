"""MLflow: a saved or logged forecaster forecasts as it did before."""

import numpy as np
import pandas as pd
import pytest

from timediff import Forecaster, TimediffError

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
