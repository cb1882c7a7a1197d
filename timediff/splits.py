"""What a window holds, and which windows train a model and which decide when to stop."""

from collections.abc import Sequence

import torch

from timediff import seasonality
from timediff.entries import Panel
from timediff.errors import DataError, OptionError
from timediff.options import Options
from timediff.types import Int, Tensor
from timediff.windows import WindowSpec

MAX_VALIDATION_WINDOWS = 512
FEW = 100  # horizons of history from which on a diffusion learns the law of single innovations
COMPONENTS = 4  # normal laws in it where there are fewer
VALIDATION_OVERLAP = 4  # windows that begin within one horizon, or a few more
LEAST_HELD_OUT, SPARED = 2, 3  # horizons of a short history; one of so many at most


def window_spec(options: Options, freq: str, prediction_length: int, history: int) -> WindowSpec:
    """What a window holds, from the options, the frequency and the longest history.

    Args:
        options: the model's.
        freq: pandas frequency.
        prediction_length: P.
        history: steps of the longest entry.

    Raises:
        OptionError: a lookback or a lag reaches beyond the history.
    """
    o, p = options, prediction_length
    season = seasonality.filling_season(freq, history, p)
    context = o.context_length or p
    if o.prior:
        lookback = o.lookback or seasonality.default_lookback(freq, history, p)
        if o.lookback and lookback > history - p - 1:
            raise OptionError(
                f"lookback {lookback} is longer than the longest history, {history} steps, "
                "leaves: leave lookback to the library, or give a shorter one"
            )
        return WindowSpec(
            freq=freq,
            prediction_length=p,
            context_length=p * -(-context // p),
            season=season,
            lookback=lookback,
            seasonal=seasonality.seasonal_offsets(freq, history, p, o.seasonal_values),
            profiles=seasonality.profile_seasons(freq, history, p),
            level=min(lookback, seasonality.level_span(freq, p)),
            yearly=seasonality.knows_years(freq, history),
            components=o.marginal_components or (COMPONENTS if history < FEW * p else 1),
        )
    if o.lags is None:
        lags = seasonality.default_lags(freq, history, p)
    elif o.lags == "published":
        lags = seasonality.published_lags(freq, history, p)
    else:
        lags = tuple(map(int, o.lags))
        if max(lags) > history - p:
            raise OptionError(
                f"lag {max(lags)} reaches beyond the longest history, {history} steps: "
                "leave lags to the library, or give shorter ones"
            )
    return WindowSpec(
        freq=freq,
        prediction_length=p,
        context_length=context,
        season=season,
        lags=lags,
        scaling=o.scaling,
        scale_window=o.scale_window,
    )


def split_windows(
    panels: Sequence[Panel], spec: WindowSpec, held_out: int
) -> tuple[Int[Tensor, "n 2"], Int[Tensor, "m 2"], float]:
    """The windows to train on, and those held out at the end of each entry.

    Args:
        panels: the entries.
        spec: what a window holds.
        held_out: horizons held out at the end of each entry, a tenth of it at most or, of fewer
            than ten horizons, two, of fewer than six one; their windows overlap.

    Returns:
        Entry and first step of the horizon of each window to train on and of each held out, and
        how many of the latter begin within one horizon.

    Raises:
        DataError: an entry is too short for one window.
    """
    p = spec.prediction_length
    train, validation = [], []
    stride = max(1, p // VALIDATION_OVERLAP)
    for i, panel in enumerate(panels):
        length = len(panel.values)
        if length <= p:
            raise DataError(
                f"{panel.title} has {length} steps: training takes more than the prediction "
                f"length of {p}; leave it out, or forecast fewer steps"
            )
        end = length - _held_out(held_out, length, p) * p
        first = max(1, min(spec.depth, (end - p) // 2))
        train += [(i, start) for start in range(first, end - p + 1)]
        validation += [(i, start) for start in range(end, length - p + 1, stride)]
    thinned = -(-len(validation) // MAX_VALIDATION_WINDOWS) or 1
    overlap = max(1.0, p / (stride * thinned))
    return _table(train), _table(validation[::thinned]), overlap


def _held_out(wanted: int, length: int, p: int) -> int:
    """Horizons held out of an entry of ``length`` steps.

    Of fewer than ten horizons a tenth is none, and nothing would say when to stop.
    """
    horizons = length // p
    return min(wanted, horizons // 10 or min(LEAST_HELD_OUT, horizons // SPARED))


def last_windows(lengths: Sequence[int], prediction_length: int) -> Int[Tensor, "n 2"]:
    """The last window of each entry that is long enough.

    Raises:
        DataError: none is.
    """
    p = prediction_length
    found = [(i, length - p) for i, length in enumerate(lengths) if length > p]
    if not found:
        raise DataError(f"no validation entry is longer than {p} steps")
    return _table(found)


def _table(windows: list[tuple[int, int]]) -> Int[Tensor, "n 2"]:
    return torch.tensor(windows, dtype=torch.long).reshape(-1, 2)
