"""The network: what reaches loss and gradient, and the rollout against teacher forcing."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.conftest import entry, quick_estimator
from timediff.entries import read_dataset
from timediff.network import Batch, ResidualNetwork, RowBatch, TimeGradNetwork
from timediff.store import SeriesStore
from timediff.windows import build_network

VARIANTS = {
    "default": {},
    "lstm": {
        "cell": "lstm",
        "cond_dim": 5,
        "num_layers": 2,
        "context_length": 13,
        "prior_members": 2,
    },
    "no embedding": {"embedding_dim": 0, "prior_loss": "nll", "seasonal_values": 0},
    "wavenet": {"denoiser": "wavenet", "parameterization": "epsilon", "schedule": "linear"},
    "horizon": {"loss_window": "horizon", "loss": "huber", "lookback": 5},
    "paper": {"preset": "paper"},
    "levels": {"prior": False, "loss": "l1", "num_layers": 2, "embedding_dim": 0},
    "context scale": {"prior": False, "scale_window": "context", "scaling": "robust"},
}


STARTS = (150, 156, 195, 198, 60)


def make(
    dim: int = 3, gaps: bool = True, length: int = 240, starts: tuple = STARTS, **options
) -> tuple:
    """A network in training mode without dropout, and a batch of windows."""
    data = entry(length, dim)
    if gaps:
        data["target"][0, 150:160] = float("nan")
        data["target"][-1, 200] = float("nan")
    estimator = quick_estimator(**{"dropout": 0.0, "prior_dropout": 0.0, **options})
    panels = read_dataset([data], "h")
    spec = estimator._spec(length)
    torch.manual_seed(0)
    network = build_network(estimator.options, spec, dim)
    store = SeriesStore(panels, spec)
    entries = torch.zeros(len(starts), dtype=torch.long)
    return network, store.gather(entries, torch.tensor(starts)), store


def rows_of(store: SeriesStore, number: int = 20) -> RowBatch:
    g = torch.Generator().manual_seed(2)
    start = torch.randint(100, 200, (number,), generator=g)
    series = torch.arange(number) % store.values.shape[1]
    return store.gather_rows(torch.zeros(number, dtype=torch.long), start, series)


def batches(network: TimeGradNetwork, batch: Batch, store: SeriesStore) -> dict:
    """What each stage is trained on."""
    return (
        {"prior": rows_of(store), "diffusion": batch}
        if isinstance(network, ResidualNetwork)
        else {"diffusion": batch}
    )


def loss_and_gradient(network: TimeGradNetwork, batch, stage: str = "diffusion") -> tuple:
    network.zero_grad()
    loss = network.loss(batch, torch.Generator().manual_seed(1))
    loss.sum().backward()
    trained = {id(p) for p in network.stage_parameters(stage)}
    names = {name: p for name, p in network.named_parameters() if id(p) in trained}
    others = [n for n, p in network.named_parameters() if id(p) not in trained]
    assert all(network.get_parameter(n).grad is None for n in others)
    return loss.detach(), {name: p.grad.clone() for name, p in names.items()}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dim", [1, 3])
def test_the_gradient_reaches_every_parameter(variant, dim):
    network, batch, store = make(dim, **VARIANTS[variant])
    torch.nn.init.normal_(network.diffusion.denoiser.outlet.weight)
    reached = set()
    for stage, given in batches(network, batch, store).items():
        if stage == "prior":
            for member in network.priors:
                torch.nn.init.normal_(member.outlet.weight)
            torch.nn.init.normal_(network.dynamics.outlet.weight)
        loss, gradient = loss_and_gradient(network, given, stage)
        assert loss.shape == (len(given.target),) and torch.isfinite(loss).all()
        assert [name for name, g in gradient.items() if not g.abs().sum() > 0] == []
        reached |= set(gradient)
    assert reached == {name for name, _ in network.named_parameters()}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("poison", [1e30, float("nan"), -float("inf")])
def test_poisoned_missing_values_change_neither_loss_nor_gradient(variant, poison):
    network, batch, store = make(**VARIANTS[variant])
    for stage, given in batches(network, batch, store).items():
        assert not given.observed.all()
        poisoned = given._replace(target=torch.where(given.observed, given.target, poison))
        loss, gradient = loss_and_gradient(network, given, stage)
        loss_poisoned, gradient_poisoned = loss_and_gradient(network, poisoned, stage)
        assert torch.equal(loss, loss_poisoned)
        for name, g in gradient.items():
            assert torch.equal(g, gradient_poisoned[name]), name


def test_what_an_entry_holds_where_its_mask_says_missing_does_not_matter():
    mask = torch.rand(3, 240, generator=torch.Generator().manual_seed(0)).numpy() < 0.8
    batches = []
    for poison in (0.0, 1e6, float("nan")):
        data = entry(observed_values=mask)
        data["target"][~mask] = poison
        estimator = quick_estimator()
        store = SeriesStore(read_dataset([data], "h"), estimator._spec(240))
        batches.append(store.gather(torch.tensor([0, 0]), torch.tensor([100, 234])))
    for one, *others in zip(*map(flat, batches), strict=True):
        assert all(torch.equal(one, other) for other in others)


def flat(batch: Batch) -> list:
    """All tensors of a batch."""
    return [part for part in [*batch[:-1], *(batch.rows or ())] if part is not None]


@pytest.mark.parametrize("variant", ["default", "paper"])
def test_a_missing_value_costs_its_own_element_and_nothing_else(variant):
    """The loss is the mean of the elements that are there, with the others left as they are."""
    network, batch, _ = make(gaps=False, **VARIANTS[variant])
    elements = []
    network.diffusion.loss, plain = (
        lambda *args: elements.append(plain(*args)) or elements[-1],
        network.diffusion.loss,
    )
    whole = network.loss(batch, torch.Generator().manual_seed(1))
    observed = batch.observed.clone()
    observed[0, -1, 1] = False  # the last step: no other step reads it
    part = network.loss(batch._replace(observed=observed), torch.Generator().manual_seed(1))
    assert torch.equal(whole[1:], part[1:])
    count = observed[0].numel()
    assert part[0] != whole[0]
    # all elements of the other time steps are the same: the two sums differ in the last step only
    assert torch.equal(elements[0][0, :-1], elements[1][0, :-1])
    assert count == observed[0].sum() + 1


@pytest.mark.parametrize("variant", VARIANTS)
def test_step_by_step_states_agree_with_teacher_forcing(variant):
    """Rolled out on the true values, the network sees the conditions that it was trained with."""
    network, batch, _ = make(gaps=False, **VARIANTS[variant])
    network.eval()
    forced, stepped = [], []
    forward, step = network.encoder.forward, network.encoder.step

    def record(encode, seen):
        def recorded(u, state=None):
            h, state = encode(u, state)
            seen.append(h)
            return h, state

        return recorded

    network.encoder.forward = record(forward, forced)
    network.encoder.step = record(step, stepped)
    z = network.diffused(batch)
    network.loss(batch)
    c = network.context_length

    class Truth(type(network.sampler)):
        """A sampler that knows the future."""

        def __init__(self):
            super().__init__()
            self.step_number = 0

        def sample(self, model, h, noise, start=None):
            value = z[:, c + self.step_number].repeat_interleave(2, dim=0)
            self.step_number += 1
            return value[torch.arange(len(h)).clamp(max=9)]  # a block is filled up

    paths = network.sample(batch, 2, sampler=Truth())
    assert torch.allclose(paths, batch.target[:, None, c:].expand_as(paths), atol=1e-4)
    rolled = torch.stack([h[1:10:2] for h in stepped], dim=1)
    whole, *pasts = forced
    assert torch.allclose(rolled, whole[:, c:], atol=1e-5)
    assert torch.allclose(torch.cat(pasts), whole[:, :c], atol=1e-6)


def test_each_history_is_encoded_once():
    network, batch, _ = make()
    lengths = []
    encode, step = network.encoder.forward, network.encoder.step
    network.encoder.forward = lambda u, state=None: lengths.append(u.shape[:2]) or encode(u, state)
    network.encoder.step = lambda u, state: lengths.append(len(u)) or step(u, state)
    network.sample(batch, 90)
    assert lengths[:5] == [(1, network.context_length)] * 5
    assert lengths[5:] == [400] * network.prediction_length * 2  # two blocks of paths


def test_the_horizon_of_the_target_is_never_read_when_sampling():
    network, batch, store = make(gaps=False)
    c = network.context_length
    target, observed = batch.target.clone(), batch.observed.clone()
    target[:, c:], observed[:, c:] = torch.nan, False
    a = network.sample(batch, 3, torch.arange(5))
    future = batch._replace(target=target, observed=observed)
    # lags and profile of a forecast are gathered where the horizon is not known
    whole = read_dataset([entry()], "h")[0]
    short = dataclasses.replace(whole, values=whole.values[:195])
    ahead = SeriesStore([short], store.spec, for_forecast=True)
    known = ahead.gather(torch.tensor([0]), torch.tensor(ahead.lengths))
    b = network.sample(future, 3, torch.arange(5))
    assert torch.equal(a, b)
    row = 2  # the window whose horizon starts at 195
    d, blocks = network.target_dim, 1 + network.context_length // network.prediction_length
    of_window = slice(row * blocks * d, (row + 1) * blocks * d)
    assert torch.equal(known.rows.recent, batch.rows.recent[of_window])
    assert torch.equal(known.rows.seasonal, batch.rows.seasonal[of_window])


@pytest.mark.parametrize("variant", VARIANTS)
def test_paths_of_a_window_do_not_depend_on_what_is_drawn_beside_them(variant):
    network, batch, _ = make(**VARIANTS[variant])
    network.eval()
    together = network.sample(batch, 90, torch.arange(5))
    _, lone, _ = make(starts=(198,), **VARIANTS[variant])
    alone = network.sample(lone, 3, torch.tensor([3]))
    assert torch.equal(together[3:4, :3], alone)
    assert not torch.equal(network.sample(lone, 3, torch.tensor([4])), alone)
    assert not torch.equal(alone[:, 0], alone[:, 1])


def test_the_rnn_reads_the_mean_of_what_is_missing_given_the_rest():
    network, batch, _ = make()
    torch.manual_seed(3)
    noise = torch.randn(500, 3) @ torch.tensor([[1.0, 0.9, 0.4], [0.0, 0.5, 0.2], [0.0, 0.0, 0.8]])
    network.whitening.fit(noise, torch.ones_like(noise, dtype=torch.bool), 500)
    root = network.whitening.back(torch.eye(3))
    covariance = root.T @ root
    e, w = network.residuals(batch).e, network.diffused(batch)
    back = network.whitening.back(w)
    assert torch.allclose(back[batch.observed], e[batch.observed], atol=1e-4)
    partly = ~batch.observed.all(-1) & batch.observed.any(-1)
    assert partly.sum() > 5
    for x, seen, found in zip(e[partly], batch.observed[partly], back[partly], strict=True):
        gain = torch.linalg.solve(covariance[seen][:, seen], covariance[seen][:, ~seen]).T
        assert torch.allclose(found[~seen], gain @ x[seen], atol=1e-3)
    read = network._inputs(batch.calendar, w)[:, 1:, -3 - network.position.shape[1] :][..., :3]
    assert torch.equal(read, w[:, :-1])


def test_samples_stay_within_what_training_saw():
    network, batch, _ = make(gaps=False)
    z = network.diffused(batch)
    network.widen_bounds(z)
    assert torch.equal(network.high, z.amax((0, 1)).clamp(min=0))
    assert torch.equal(network.low, z.amin((0, 1)).clamp(max=0))

    class Wild(type(network.sampler)):
        def sample(self, model, h, noise, start=None):
            return 1e20 * noise()

    paths = network.sample(batch, 50, sampler=Wild())
    assert torch.isfinite(paths).all()
    spread = batch.target.std()
    assert (paths - batch.target.mean()).abs().max() < 100 * spread


def test_paths_of_what_is_never_negative_are_not_either():
    for shift, least in ((-5.0, -torch.inf), (0.0, 0.0)):
        data = entry(240)
        data["target"] += shift
        estimator = quick_estimator()
        store = SeriesStore(read_dataset([data], "h"), estimator._spec(240))
        network = build_network(estimator.options, store.spec, 3)
        batch = store.gather(torch.tensor([0]), torch.tensor([195]))
        assert (batch.floor == least).all()
        network.priors[0].rho.data.fill_(20.0)
        paths = network.sample(batch, 50)
        assert (paths.min() == 0.0) if least == 0.0 else (paths.min() < -10.0)


def test_paths_of_counts_are_counts():
    data = entry(240)
    data["target"][1] = np.round(3 * data["target"][1])
    data["target"][1, 200] = np.nan
    data["target"][2, 7] = 0.5 + np.floor(data["target"][2, 7])
    for bound in (True, False):
        estimator = quick_estimator(bound_samples=bound)
        store = SeriesStore(read_dataset([data], "h"), estimator._spec(240))
        network = build_network(estimator.options, store.spec, 3)
        batch = store.gather(torch.tensor([0]), torch.tensor([195]))
        assert batch.whole.flatten().tolist() == [False, True, False]
        if bound:  # a history that happens to hold whole numbers only does not make a count
            happens = batch._replace(whole=torch.ones_like(batch.whole))
            network.whole.copy_(batch.whole.flatten())
            assert (network.sample(happens, 20)[..., ::2] % 1).amax() > 0.1
        paths = network.sample(batch, 20)
        fractions = (paths - paths.round()).abs().amax((0, 1, 2))
        assert (fractions > 0.1).tolist() == [True, not bound, True]


def test_larger_series_weigh_more_where_asked():
    losses = []
    for balance in (0.0, 0.5):
        network, _, store = make(gaps=False, prior_balance=balance)
        given = rows_of(store)
        unit = given.rows.unit.clone()
        unit[0] = 100 * unit.mean()
        given = given._replace(rows=given.rows._replace(unit=unit))
        losses.append(network.eval().loss(given).detach())
    ratio = losses[1] / losses[0]
    assert torch.allclose(ratio / ratio[1], (unit / unit[1]).sqrt(), rtol=1e-4)
    assert ratio.min() < 1 < ratio.max()  # the weights are 1 on average


def test_a_prior_of_several_members_is_their_mean():
    network, _, store = make(gaps=False, prior_members=3)
    network.eval()
    batch = rows_of(store)
    for member in network.priors:
        torch.nn.init.normal_(member.outlet.weight)
    loc, scale = network.prior(batch.rows)
    parts = [member(batch.rows) for member in network.priors]
    assert not torch.allclose(parts[0][0], parts[1][0])
    torch.testing.assert_close(loc, sum(part[0] for part in parts) / 3)
    torch.testing.assert_close(scale, sum(part[1] for part in parts) / 3)


def test_an_untrained_diffusion_draws_the_law_of_prior_and_dynamics():
    """Before it is trained, the denoiser is right for white noise, which the chain returns."""
    network, batch, _ = make(gaps=False)
    network.eval()
    torch.nn.init.zeros_(network.diffusion.denoiser.outlet.weight)
    torch.nn.init.zeros_(network.diffusion.denoiser.outlet.bias)
    root = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 0.6, 0.8]])
    noise = torch.randn(200_000, 3, generator=torch.Generator().manual_seed(0)) @ root.T
    network.whitening.fit(noise, torch.ones_like(noise, dtype=torch.bool), len(noise))
    network.dynamics.phi.data[:, 0] = 0.7
    network.dynamics.phi.data[0] = 0.0
    paths = network.sample(batch, 20_000, torch.arange(5))
    known = network.residuals(batch)
    c = network.context_length
    z = (paths - known.loc[:, None, c:]) / known.scale[:, None, c:]
    sigma = torch.nn.functional.softplus(network.dynamics.rho) + 1e-3
    assert torch.allclose(z[1, :, 0].T.cov(), sigma[0] ** 2 * root @ root.T, atol=0.05)
    variance = sigma[0] ** 2
    for j in range(1, network.prediction_length):
        variance = 0.49 * variance + sigma[j] ** 2
        assert torch.allclose(z[1, :, j].var(0), variance.expand(3), rtol=0.06)
