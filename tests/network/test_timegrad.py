"""The network: what reaches loss and gradient, and the rollout against teacher forcing."""

import dataclasses

import pytest
import torch

from tests.conftest import entry, quick_estimator
from timediff.entries import read_dataset
from timediff.loader import SeriesStore
from timediff.network import Batch, TimeGradNetwork
from timediff.predictor import build_network

VARIANTS = {
    "default": {},
    "both": {"encoder_inputs": "both", "cell": "lstm", "cond_dim": 5},
    "lags": {"encoder_inputs": "lags", "num_layers": 2, "embedding_dim": 0},
    "paper": {"preset": "paper"},
    "wavenet": {"denoiser": "wavenet", "parameterization": "epsilon", "schedule": "linear"},
    "context scale": {"scale_window": "context", "scaling": "robust", "profile_seasons": 0},
    "horizon": {"loss_window": "horizon", "loss": "huber", "scaling": "mean"},
    "no head": {"location_scale": False, "encoder_inputs": "lags", "loss": "l1"},
}


def make(dim: int = 3, gaps: bool = True, length: int = 240, **options) -> tuple:
    """A network in training mode without dropout, and a batch of windows."""
    data = entry(length, dim)
    if gaps:
        data["target"][0, 150:160] = float("nan")
        data["target"][-1, 200] = float("nan")
    estimator = quick_estimator(**{"dropout": 0.0, **options})
    panels = read_dataset([data], "h")
    spec = estimator._spec(length)
    torch.manual_seed(0)
    network = build_network(estimator.options, spec, dim)
    store = SeriesStore(panels, spec)
    starts = torch.tensor([150, 156, 195, 198, 60])
    return network, store.gather(torch.zeros(5, dtype=torch.long), starts), store


def loss_and_gradient(network: TimeGradNetwork, batch: Batch) -> tuple:
    network.zero_grad()
    loss = network.loss(batch, torch.Generator().manual_seed(1))
    loss.sum().backward()
    return loss.detach(), {name: p.grad.clone() for name, p in network.named_parameters()}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dim", [1, 3])
def test_the_gradient_reaches_every_parameter(variant, dim):
    network, batch, _ = make(dim, **VARIANTS[variant])
    torch.nn.init.normal_(network.diffusion.denoiser.outlet.weight)
    loss, gradient = loss_and_gradient(network, batch)
    assert loss.shape == (5,) and torch.isfinite(loss).all()
    silent = [name for name, g in gradient.items() if not g.abs().sum() > 0]
    if variant == "lags":  # the state of the last step is not used, nor is what only feeds it
        silent = [name for name in silent if "rnn" not in name]
    assert silent == []


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("poison", [1e30, float("nan"), -float("inf")])
def test_poisoned_missing_values_change_neither_loss_nor_gradient(variant, poison):
    network, batch, _ = make(**VARIANTS[variant])
    assert not batch.observed.all()
    poisoned = batch._replace(target=torch.where(batch.observed, batch.target, poison))
    loss, gradient = loss_and_gradient(network, batch)
    loss_poisoned, gradient_poisoned = loss_and_gradient(network, poisoned)
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
    for parts in zip(*batches, strict=True):
        assert torch.equal(parts[0], parts[1]) and torch.equal(parts[0], parts[2])


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
    encode = network.encoder.forward

    def record(u, state=None):
        h, state = encode(u, state)
        (forced if state_is_fresh[0] else stepped).append(h)
        return h, state

    state_is_fresh = [True]
    network.encoder.forward = record
    _, z, _, _ = network._residuals(batch, slice(None))
    network.loss(batch)
    c = network.context_length

    class Truth(type(network.sampler)):
        """A sampler that knows the future."""

        def __init__(self):
            super().__init__()
            self.step_number = 0

        def sample(self, model, h, noise, start=None):
            value = z[:, c + self.step_number].unsqueeze(1).expand(-1, 2, -1)
            self.step_number += 1
            return value

    state_is_fresh[0] = False
    paths = network.sample(batch, 2, sampler=Truth())
    assert torch.allclose(paths, batch.target[:, None, c:].expand_as(paths), atol=1e-4)
    rolled = torch.stack([h.view(5, 2, -1)[:, 1] for h in stepped[1:]], dim=1)
    assert torch.allclose(rolled, forced[0][:, c:], atol=1e-5)
    assert torch.allclose(stepped[0], forced[0][:, :c], atol=1e-6)


def test_the_history_is_encoded_once():
    network, batch, _ = make()
    lengths = []
    encode = network.encoder.forward
    network.encoder.forward = lambda u, state=None: lengths.append(u.shape[:2]) or encode(u, state)
    network.sample(batch, 7)
    assert lengths[0] == (5, network.context_length)
    assert lengths[1:] == [(35, 1)] * network.prediction_length


def test_the_horizon_of_the_target_is_never_read_when_sampling():
    network, batch, store = make(gaps=False)
    c = network.context_length
    target, observed = batch.target.clone(), batch.observed.clone()
    target[:, c:], observed[:, c:] = torch.nan, False
    a = network.sample(batch, 3, torch.Generator().manual_seed(0))
    future = batch._replace(target=target, observed=observed)
    # lags and profile of a forecast are gathered where the horizon is not known
    whole = read_dataset([entry()], "h")[0]
    short = dataclasses.replace(whole, values=whole.values[:195])
    ahead = SeriesStore([short], store.spec, for_forecast=True)
    known = ahead.gather(torch.tensor([0]), torch.tensor(ahead.lengths))
    b = network.sample(future, 3, torch.Generator().manual_seed(0))
    assert torch.equal(a, b)
    row = 2  # the window whose horizon starts at 195
    seen = known.profile[0, :, 0]
    assert torch.allclose(seen, batch.profile[row, :, 0], atol=1e-5)
    reach = [i for i, lag in enumerate(store.spec.lags) if lag >= network.prediction_length]
    assert torch.equal(known.lags[0][:, reach], batch.lags[row][:, reach])


def test_paths_of_a_window_do_not_depend_on_the_batch():
    network, batch, _ = make()
    network.eval()
    together = network.sample(batch, 4, [torch.Generator().manual_seed(i) for i in range(5)])
    alone = network.sample(
        Batch(*(part[3:4] for part in batch)), 4, [torch.Generator().manual_seed(3)]
    )
    assert torch.allclose(together[3:4], alone, atol=1e-5)


def test_samples_stay_within_what_training_saw():
    network, batch, _ = make(gaps=False)
    network.widen_bounds(batch)
    _, z, _, _ = network._residuals(batch, slice(None))
    assert torch.equal(network.high, z.amax((0, 1)).clamp(min=0))
    assert torch.equal(network.low, z.amin((0, 1)).clamp(max=0))

    class Wild(type(network.sampler)):
        def sample(self, model, h, noise, start=None):
            return 1e20 * noise()

    paths = network.sample(batch, 50, sampler=Wild())
    assert torch.isfinite(paths).all()
    spread = batch.target.std()
    assert (paths - batch.target.mean()).abs().max() < 100 * spread


def test_the_diffusion_does_not_train_the_head():
    network, batch, _ = make()
    network.diffusion.loss = lambda z, h, generator: 0 * z.detach()
    _, without = loss_and_gradient_of_head(network, batch)
    network, batch, _ = make()
    _, with_diffusion = loss_and_gradient_of_head(network, batch)
    for name, g in without.items():
        assert torch.equal(g, with_diffusion[name])


def loss_and_gradient_of_head(network, batch):
    network.zero_grad()
    loss = network.loss(batch, torch.Generator().manual_seed(1)).sum()
    loss.backward()
    return loss, {name: p.grad.clone() for name, p in network.head.named_parameters()}
