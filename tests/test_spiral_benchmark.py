"""The spiral: the forward chain is the closed form, and a little training writes the pictures."""

import numpy as np
import pandas as pd
import torch
from PIL import Image

from benchmarks import spiral
from timediff.diffusion import SCHEDULES, ConditionalDiffusion
from timediff.diffusion.denoisers import MLP


def test_the_places_of_points_on_the_roll_are_found():
    x, place = spiral.roll(2000, torch.Generator().manual_seed(0))
    assert (x.var(0) - 1).abs().max() < 0.25
    assert np.abs(spiral.places(x.numpy()) - place.numpy()).max() < 0.03


def test_the_forward_chain_has_the_moments_of_the_closed_form_at_every_step():
    schedule = SCHEDULES.build("cosine", num_steps=spiral.K)
    model = ConditionalDiffusion(MLP(2, 1, width=8), schedule, "v")
    draw = torch.Generator().manual_seed(0)
    x0, _ = spiral.roll(20_000, draw)
    chain = spiral.forward(model, x0, draw)
    for k in (1, 20, 50, 100):
        alpha, sigma = schedule.at(k)
        rest = chain[k] - alpha * x0
        assert (rest.std(0) / sigma - 1).abs().max() < 0.03
        assert abs((rest * x0).mean()) < 0.03


def test_a_little_training_moves_towards_the_roll_and_draws_the_pictures(tmp_path):
    threads = torch.get_num_threads()
    words = ["--steps", "60", "--points", "200", "--frames", "3", "--output", str(tmp_path)]
    spiral.main(words)
    torch.set_num_threads(threads)
    rows = pd.read_csv(tmp_path / "spiral.csv").set_index("drawn by")
    assert rows.loc["ddpm", "distance"] < 0.3
    assert abs(rows.loc["the roll itself", "distance"]) < 0.01
    with Image.open(tmp_path / "spiral.gif") as film:
        assert film.n_frames >= 3
    with Image.open(tmp_path / "spiral.png") as image:
        assert min(image.size) > 500
