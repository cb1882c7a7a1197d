"""The benchmark of growth fits the exponents of what it measures."""

import pandas as pd
import pytest

from benchmarks import growth


def test_the_exponents_are_those_of_the_upper_half():
    rows = [
        {"changed": name, name: n, "seconds": 1e-3 * n**power + 1.0, "peak_gib": 2.0 * n}
        for name, power in (("series", 2.0), ("paths", 1.0))
        for n in (1, 10, 10**6, 10**7, 10**8)
    ]
    found = growth.fitted(pd.DataFrame(rows))
    assert found["series"]["seconds"] == pytest.approx(2.0, abs=1e-3)
    assert found["paths"]["seconds"] == pytest.approx(1.0, abs=1e-3)
    assert found["paths"]["peak_gib"] == pytest.approx(1.0)


@pytest.mark.slow
def test_the_benchmark_trains_on_more_and_more_series(tmp_path):
    growth.main(["--training", "--most", "8", "--output", str(tmp_path)])
    (row,) = pd.read_csv(tmp_path / "growth_training.csv").to_dict("records")
    assert row["series"] == 8 and row["seconds"] > 0 and row["peak_gib"] > 0
    assert "# Training: 8 series in" in (tmp_path / "growth_training.md").read_text()


@pytest.mark.slow
def test_the_benchmark_measures_each_size_and_draws_a_picture(tmp_path):
    growth.main(["--sizes", "series", "--most", "32", "--output", str(tmp_path)])
    rows = pd.read_csv(tmp_path / "growth.csv")
    assert rows["series"].tolist() == [8, 32] and (rows["windows"] == 1).all()
    assert (rows["seconds"] > 0).all() and (rows["before_gib"] > 0.05).all()
    assert rows["seconds exponent"].nunique() == 1
    assert "# Growth: series ^" in (tmp_path / "growth.md").read_text()
    assert (tmp_path / "growth.png").stat().st_size > 10_000
