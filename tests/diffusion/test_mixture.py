"""The law of single numbers: what it is, what is best if it is known, and what is drawn then."""

import pytest
import torch

from timediff.diffusion import SAMPLERS, SCHEDULES, ConditionalDiffusion, Denoiser, view
from timediff.diffusion.flow import flow_log_density
from timediff.diffusion.mixture import MarginalLaw, NormalMixture

SPOKEN = ["v", "epsilon", "x0", "score"]
# a peak, a skewed middle and a heavy tail; the widest last
LAW = NormalMixture(*torch.tensor([[0.5, 0.4, 0.1], [-0.1, -0.3, 1.7], [0.05, 0.5, 4.0]]).double())


class Silent(Denoiser):
    """An untrained network that puts out nothing."""

    def condition(self, h):
        return h

    def denoise(self, x, k, condition):
        return torch.zeros_like(x)


def schedule(name: str = "cosine"):
    return SCHEDULES.build(name, num_steps=100, beta_start=1e-4, beta_end=0.1)


def marginal(law: NormalMixture = LAW) -> MarginalLaw:
    known = MarginalLaw(schedule(), len(law.weights))
    known.set(law)
    return known


def model(parameterization: str = "v", law: NormalMixture = LAW) -> ConditionalDiffusion:
    return ConditionalDiffusion(
        Silent(), schedule(), parameterization, marginal=marginal(law)
    ).eval()


def draw(count: int, law: NormalMixture = LAW) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    which = torch.multinomial(law.weights, count, True, generator=generator)
    noise = torch.randn(count, generator=generator)
    return law.means[which] + law.variances[which].sqrt() * noise


# a wide component, and one that is widest and lies where nothing else is
FAR = NormalMixture(*torch.tensor([[0.5, 0.495, 0.005], [0.0, 0.0, 12.0], [0.02, 0.5, 0.6]]))


@pytest.mark.parametrize("law", [LAW, FAR], ids=["one centre", "rare outliers"])
@pytest.mark.parametrize("k", [1, 10, 30, 60, 100])
def test_what_is_expected_is_what_bayes_says(law, k):
    alpha, sigma = schedule().at(k)
    x, clean = torch.linspace(-6, 6, 25), torch.linspace(-30, 30, 200_001)
    joint = law.log_density(clean) - 0.5 * ((x.unsqueeze(1) - alpha * clean) / sigma) ** 2
    found = marginal(law)(x.unsqueeze(1), torch.tensor([k])).squeeze(1)
    torch.testing.assert_close(found, joint.softmax(1) @ clean, atol=1e-5, rtol=1e-5)


def test_each_row_has_its_own_step():
    x, k = torch.randn(3, 5, 4), torch.randint(1, 101, (3, 5))
    known = marginal()
    for i in range(3):
        for j in range(5):
            torch.testing.assert_close(
                known(x, k)[i, j], known(x[i, j : j + 1], k[i, j : j + 1])[0]
            )


def test_far_numbers_have_an_expectation():
    x = torch.tensor([[-1e4, -50.0, 0.0, 50.0, 1e4]])
    for law in (LAW, NormalMixture.standard(4), LAW._replace(variances=torch.full((3,), 0.02))):
        for k in range(1, 101):
            assert marginal(law)(x.float(), torch.tensor([k])).isfinite().all()


def test_the_density_is_that_of_the_components():
    x = torch.linspace(-5, 5, 11)
    normal = torch.distributions.Normal(LAW.means, LAW.variances.sqrt())
    exact = (normal.log_prob(x.unsqueeze(1)).exp() @ LAW.weights).log()
    torch.testing.assert_close(LAW.log_density(x), exact)


def test_a_fit_finds_the_law_of_the_data():
    found = NormalMixture.fit(draw(400_000), 3, 400_000)
    new = draw(50_000)
    lost = LAW.log_density(new) - found.log_density(new)
    assert abs(float(lost.mean())) < 2e-3
    assert float((LAW.log_density(new) - NormalMixture.standard(3).log_density(new)).mean()) > 0.3
    torch.testing.assert_close(found.weights, LAW.weights, atol=0.03, rtol=0)


def test_more_components_than_the_law_has_do_no_harm():
    x, new = torch.randn(200_000), torch.randn(50_000)
    found = NormalMixture.fit(x, 4, 200_000)
    normal = NormalMixture.standard(4)
    assert abs(float((found.log_density(new) - normal.log_density(new)).mean())) < 1e-3


def test_one_component_is_the_normal_law_of_the_data():
    found = NormalMixture.fit(0.5 + 2 * torch.randn(100_000), 1, 100_000)
    assert float(found.means[0]) == pytest.approx(0.5, abs=0.05)
    assert float(found.variances[0]) == pytest.approx(4.0, rel=0.05)


@pytest.mark.parametrize("count", [0, 3])
def test_of_few_data_nothing_is_believed(count):
    found, x = NormalMixture.fit(torch.full((count,), 5.0), 4, count), torch.linspace(-2, 2, 9)
    normal = NormalMixture.standard(4)
    assert (found.log_density(x) - normal.log_density(x)).abs().max() < 0.1


def test_what_only_repeats_the_data_counts_for_nothing():
    x = draw(2000)
    once, often = (NormalMixture.fit(part, 3, 2000) for part in (x, x.repeat(7)))
    torch.testing.assert_close(once, often)


@pytest.mark.parametrize("spoken", SPOKEN)
def test_a_network_that_has_learned_nothing_draws_the_law(spoken):
    generator = torch.Generator().manual_seed(1)

    def noise():
        return torch.randn(200_000, 1, generator=generator)

    sampler = SAMPLERS.build("adams", steps=40)
    with torch.no_grad():
        drawn = sampler.sample(model(spoken), torch.zeros(200_000, 1), noise).squeeze(1)
    at = torch.tensor([0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999])
    exact, spread = draw(200_000).quantile(at), torch.tensor([0.2] + [0.03] * 7 + [0.3])
    assert ((drawn.quantile(at) - exact).abs() < spread).all()


def test_the_standard_normal_law_adds_nothing():
    x, k = torch.randn(7, 3), torch.randint(1, 101, (7,))
    known, nothing = model(law=NormalMixture.standard(4)), torch.zeros(7, 3)
    torch.testing.assert_close(known.output(x, k, nothing), nothing, atol=1e-6, rtol=0)


def test_the_loss_is_least_where_the_law_is_that_of_the_data():
    x = draw(100_000).unsqueeze(1)
    laws = {
        "own": LAW,
        "normal": NormalMixture.standard(3),
        "wide": LAW._replace(means=LAW.means + 1),
    }
    found = {}
    for name, law in laws.items():
        generator = torch.Generator().manual_seed(2)
        found[name] = float(model(law=law).loss(x, torch.zeros(len(x), 1), generator).mean())
    assert found["own"] < 0.97 * min(found["normal"], found["wide"])


@pytest.mark.parametrize("spoken", ["x0", "epsilon", "score"])
def test_a_view_knows_the_law_too(spoken):
    plain, x, h = model(), torch.randn(9, 2), torch.zeros(9, 1)
    seen = view(plain, spoken)
    for k in (1, 40, 99):
        for a, b in zip(plain.predict(x, k, h), seen.predict(x, k, h), strict=True):
            torch.testing.assert_close(a, b, atol=1e-8, rtol=1e-6)


def test_the_flow_has_the_density_of_the_law():
    x = torch.linspace(-3, 4, 15).unsqueeze(1)
    found = flow_log_density(model(), x, torch.zeros(15, 1))
    torch.testing.assert_close(found, LAW.log_density(x.squeeze(1)), atol=0.05, rtol=0)
