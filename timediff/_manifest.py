"""What an exported folder says of its model: the manifest, and the constants beside the graphs."""

from typing import Any

import numpy as np
import pandas as pd
import torch

import timediff
from timediff import runner
from timediff._calendars import calendar_of
from timediff._chain import record
from timediff._frequency import period_alias
from timediff._graphs import state_shape
from timediff.network import ResidualNetwork, TimeGradNetwork
from timediff.predictor import TimeGradPredictor
from timediff.saving import encode
from timediff.seasonality import calendar_periods, steps_of


def manifest_of(predictor: TimeGradPredictor, runtime: str) -> dict[str, Any]:
    """Everything that the runner needs to know and that is no array."""
    network, spec = predictor.network, predictor.spec
    names = (
        "season",
        "lags",
        "scaling",
        "scale_window",
        "lookback",
        "seasonal",
        "profiles",
        "level",
    )
    calendar = calendar_of(spec.freq)
    unit, multiple = steps_of(spec.freq) if calendar is None else ("times", calendar.offset.n)
    is_residual = isinstance(network, ResidualNetwork)
    return {
        "format": runner.FORMAT,
        "timediff": timediff.__version__,
        "torch": torch.__version__,
        "runtime": runtime,
        "network": "residual" if is_residual else "level",
        "columns": None if predictor.columns is None else encode(predictor.columns),
        "freq": spec.freq,
        "target_dim": network.target_dim,
        "prediction_length": spec.prediction_length,
        "context_length": spec.context_length,
        "window": {
            **{name: getattr(spec, name) for name in names},
            "pad": spec.pad,
            "reach": spec.reach,
            "before": spec.before,
            "feature_steps": spec.feature_steps,
        },
        "features": spec.features.to_json(),
        "calendar": {
            "kind": unit,
            "multiple": multiple,
            "anchor": anchor(period_alias(spec.freq)),
            "fields": calendar_periods(spec.freq, spec.yearly),
        },
        "state": {
            "number": 1 + isinstance(network.encoder.rnn, torch.nn.LSTM),
            "shape": state_shape(network),
        },
        "start": network.options.start,
        "finish": is_residual and network.options.bound_samples,
        "chain": record(network.sampler, network.diffusion),
    }


def anchor(alias: str) -> int | None:
    """Of a weekly frequency its last day, 0 for Monday; of a quarterly one its last month."""
    name = alias.rpartition("-")[2] if "-" in alias else ""
    days = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
    if name in days:
        return days.index(name)
    months = [f"{pd.Timestamp(2000, month, 1):%b}".upper() for month in range(1, 13)]
    return months.index(name) + 1 if name in months else None


def constants_of(network: TimeGradNetwork) -> dict[str, np.ndarray]:
    """The arrays that the runner needs beside the graphs."""
    tensors: dict[str, torch.Tensor | None] = {
        name: getattr(network, name) for name in ("low", "high", "floor", "whole")
    }
    if isinstance(network, ResidualNetwork):
        tensors |= {"position": network.position, "phi": network.dynamics.phi}
        tensors |= {"rho": network.dynamics.rho, **dict(network.whitening.named_buffers())}
        factors = dict(network.factors.named_buffers())
        tensors |= {"factor_mean": factors.pop("mean"), **factors}
    else:
        empty = torch.zeros(0)
        tensors["embedding"] = getattr(network, "embedding", None)
        tensors["embedding"] = empty if tensors["embedding"] is None else tensors["embedding"]
    return {n: t.detach().cpu().numpy() for n, t in tensors.items() if t is not None}
