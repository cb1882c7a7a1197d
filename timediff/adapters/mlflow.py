"""A model flavour of MLflow: what ``Forecaster.save`` writes, with a pyfunc around it.

>>> from timediff.adapters import mlflow as timediff_mlflow
>>> timediff_mlflow.log_model(forecaster, "model")
>>> mlflow.pyfunc.load_model(uri).predict(table, params={"num_samples": 200})

Of a model with features the table holds them, too, and goes on over the horizon: see
:meth:`PyFunc.predict`.

Nothing is pickled: the model folder holds safetensors and JSON.
"""

import inspect
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

try:
    import mlflow.pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ParamSchema, ParamSpec
except ImportError as error:
    raise ImportError(
        "this adapter needs mlflow 2.14 or later: pip install 'timediff[mlflow]'"
    ) from error

import timediff
from timediff._one_table import taken_apart
from timediff._tables import without_periods
from timediff.forecaster import Forecaster

FLAVOR_NAME = "timediff"
OWN = -1  # a seed in the signature's stead, which knows no None


def signature() -> ModelSignature:
    """The parameters that ``predict`` of the loaded pyfunc takes.

    ``num_samples``: joint paths. ``level``: central intervals in per cent. ``seed``: of the paths;
    -1 for the forecaster's own. ``samples``: give the paths, not their mean and intervals.
    """
    return ModelSignature(
        params=ParamSchema(
            [
                ParamSpec("num_samples", "long", 100),
                ParamSpec("level", "double", [80.0, 95.0], (-1,)),
                ParamSpec("seed", "long", OWN),
                ParamSpec("samples", "boolean", False),
            ]
        )
    )


def save_model(
    forecaster: Forecaster,
    path: str | Path,
    *,
    mlflow_model: Model | None = None,
    history: bool = True,
    **options: Any,
) -> None:
    """Save a fitted forecaster as a folder in MLflow's format.

    Args:
        forecaster: the forecaster.
        path: of the folder, which must not exist.
        mlflow_model: a description to go on from.
        history: whether to keep the history, without which ``predict`` needs a table.
        options: of ``mlflow.pyfunc.save_model``, such as ``pip_requirements``, ``metadata`` and
            ``code_paths``.

    Raises:
        TimediffError: the forecaster is not fitted, or cannot be saved.
    """
    model = Model() if mlflow_model is None else mlflow_model
    if not {"pip_requirements", "conda_env", "extra_pip_requirements"} & options.keys():
        options["pip_requirements"] = [f"timediff=={timediff.__version__}"]
    options.setdefault("signature", signature())
    with tempfile.TemporaryDirectory() as scratch:
        folder = forecaster.save(Path(scratch) / "forecaster", history=history)
        model.add_flavor(
            FLAVOR_NAME, data=f"data/{folder.name}", timediff_version=timediff.__version__
        )
        mlflow.pyfunc.save_model(
            path=str(path),
            loader_module=__name__,
            data_path=str(folder),
            mlflow_model=model,
            **options,
        )


def log_model(forecaster: Forecaster, name: str = "model", **options: Any) -> Any:
    """Log a fitted forecaster to the active run, or a new one.

    Args:
        forecaster: the forecaster.
        name: of the model.
        options: of :func:`save_model`, and ``registered_model_name`` and the like of
            ``mlflow.models.Model.log``.

    Returns:
        MLflow's description of what was logged; ``.model_uri`` says where.
    """
    place: dict[str, Any] = {"artifact_path": name}
    if "name" in inspect.signature(Model.log).parameters:  # since MLflow 3
        place = {"artifact_path": None, "name": name}
    return Model.log(flavor=sys.modules[__name__], forecaster=forecaster, **place, **options)


def load_model(model_uri: str | Path, device: str = "auto") -> Forecaster:
    """Load the forecaster itself, with all it can do.

    Args:
        model_uri: a path, or any address that MLflow knows, such as ``runs:/.../model``.
        device: see :class:`timediff.Forecaster`.

    Raises:
        MlflowException: there is no model, or none of this flavour.
        SavedModelError: it is damaged, or of another version.
    """
    folder = Path(mlflow.artifacts.download_artifacts(str(model_uri)))
    flavors = Model.load(str(folder)).flavors
    if FLAVOR_NAME not in flavors:
        raise mlflow.MlflowException(
            f"{model_uri} has the flavours {', '.join(flavors)}, not {FLAVOR_NAME!r}"
        )
    return Forecaster.load(folder / flavors[FLAVOR_NAME]["data"], device)


class PyFunc:
    """What ``mlflow.pyfunc.load_model`` wraps.

    Args:
        forecaster: the forecaster.
    """

    def __init__(self, forecaster: Forecaster):
        self.forecaster = forecaster

    def predict(
        self, model_input: pd.DataFrame | None = None, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Forecast the steps after the end of a table.

        Args:
            model_input: a wide or long table of the same series; the history that was saved with
                the model if it is None or empty. Of a model that was fitted with features
                (``known=``, ``past=``) it has a column for each of them by its name; rows after the
                last one in which a series has a value are those of the horizon, with what is known
                ahead. If no row has a value, they go on from the history that was saved. What does
                not change (``static=``) is that of this history.
            params: see :func:`signature`.

        Returns:
            A long table: a row for each series and time; of periods their begins.

        Raises:
            DataError: the table has other series, or there is none and no history; a feature has no
                column, or no value in the horizon: names it and the time.
        """
        given = {spec.name: spec.default for spec in signature().params}
        given |= params or {}
        parts: dict[str, Any] = {}
        if model_input is not None and len(model_input):
            spec = self.forecaster.predictor.spec.features
            parts = taken_apart(model_input, self.forecaster.kept, spec)
        forecast = self.forecaster.predict(
            **parts,
            num_samples=int(given["num_samples"]),
            seed=None if given["seed"] == OWN else int(given["seed"]),
        )
        if given["samples"]:
            return without_periods(forecast.to_frame(samples=True))
        return without_periods(forecast.to_frame(level=[float(x) for x in given["level"]]))


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> PyFunc:
    """Called by MLflow, which finds it by its name."""
    return PyFunc(Forecaster.load(Path(path), (model_config or {}).get("device", "auto")))
