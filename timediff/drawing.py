"""From the histories of a forecaster to forecasts with its names and stamps."""

from collections.abc import Hashable, Sequence

from timediff.histories import Entry
from timediff.predictor import TimeGradPredictor
from timediff.reading import Names
from timediff.results import Forecast
from timediff.scenarios import Given


def draw(
    predictor: TimeGradPredictor,
    known: Sequence[tuple[Hashable, Entry]],
    names: Names,
    num_samples: int,
    seed: int | None,
    shown: dict[str, float],
    given: list[Given | None] | None = None,
) -> list[Forecast]:
    """The forecasts after these entries, each with the key of its group.

    Args:
        predictor: draws the paths.
        known: groups and their histories.
        names: of the columns of a long table.
        num_samples: joint paths.
        seed: of the paths.
        shown: the quantiles that tables of the forecasts have.
        given: of each entry's horizon, in a scenario.
    """
    entries = [entry for _, entry in known]
    drawn = predictor.predict(entries, num_samples, seed, given=given)
    return [
        Forecast(
            forecast.samples,
            forecast.start_date,
            entry["info"]["columns"],
            info=forecast.info,
            name=key,
            names=names,
            history=entry,
            shown=shown,
        )
        for (key, entry), forecast in zip(known, drawn, strict=True)
    ]
