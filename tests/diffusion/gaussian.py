"""Diffusions whose answer is known: of normal data, and of a finite set of points.

Everything is written from the papers' beta and alpha_bar, and shares no formula with the package.
"""

import math
from itertools import pairwise

import numpy as np
import torch

from timediff.diffusion import ConditionalDiffusion, Denoiser, NoiseSchedule, Sampler
from timediff.diffusion.samplers import Start
from timediff.diffusion.samplers.base import Project


def alpha_bar(name: str, steps: int, start: float = 1e-4, end: float = 0.1) -> np.ndarray:
    """``prod (1 - beta_i)`` for k = 0 .. K, beta by beta as the papers give it."""
    if name == "zero_terminal":  # Lin et al. 2024, algorithm 1, of the linear schedule
        root = np.sqrt(alpha_bar("linear", steps, start, end)[1:])
        root = (root - root[-1]) * root[0] / (root[0] - root[-1])
        return np.concatenate([[1.0], root**2])
    level, levels = 1.0, [1.0]
    for k in range(1, steps + 1):
        along = (k - 1) / (steps - 1) if steps > 1 else 0.0
        if name == "linear":
            beta = start + along * (end - start)
        elif name == "quadratic":
            beta = (math.sqrt(start) + along * (math.sqrt(end) - math.sqrt(start))) ** 2
        elif name == "sigmoid":
            beta = start + (end - start) / (1 + math.exp(6 - 12 * along))
        elif name == "constant":
            beta = end
        elif name == "jsd":
            beta = 1 / (steps - k + 1)
        elif name == "cosine":  # Nichol & Dhariwal 2021, eq. 17
            f, g = (math.cos((i / steps + 0.008) / 1.008 * math.pi / 2) ** 2 for i in (k, k - 1))
            beta = min(1 - f / g, 0.999)
        level *= 1 - beta
        levels.append(level)
    return np.array(levels)


def as_network(parameterization: str, x0, eps, alpha, sigma):
    """What a network of this parameterization puts out when it sees ``x0`` and ``eps``."""
    return {
        "x0": x0,
        "epsilon": eps,
        "v": alpha * eps - sigma * x0,
        "score": -eps / sigma,
    }[parameterization]


class Exact(Denoiser):
    """A denoiser given by a posterior mean ``E[x0 | x_k, h]`` instead of weights."""

    def __init__(self, schedule: NoiseSchedule, parameterization: str = "x0"):
        super().__init__()
        self.schedule, self.parameterization = schedule, parameterization

    def posterior_mean(self, x, alpha, sigma, h):
        raise NotImplementedError

    def condition(self, h):
        return h

    def denoise(self, x, k, condition):
        alpha, sigma = self.schedule(k, x.dtype)
        x0 = self.posterior_mean(x, alpha, sigma, condition)
        return as_network(self.parameterization, x0, (x - alpha * x0) / sigma, alpha, sigma)


class Gaussian(Exact):
    """Of data ``x0 | h ~ N(mean + h, covariance)``; a 1-D covariance is a diagonal."""

    def __init__(self, schedule, mean, covariance, parameterization="x0"):
        super().__init__(schedule, parameterization)
        self.mean, self.covariance = mean, covariance

    def posterior_mean(self, x, alpha, sigma, h):
        mean, c = self.mean + h, self.covariance
        rest = x - alpha * mean
        if c.ndim == 1:
            return mean + alpha * c / (alpha**2 * c + sigma**2) * rest
        noisy = alpha[..., None] ** 2 * c + sigma[..., None] ** 2 * torch.eye(len(c))
        return mean + alpha * (c @ torch.linalg.solve(noisy, rest[..., None]))[..., 0]


class Points(Exact):
    """Of data that is one of finitely many ``points``, each as likely."""

    def __init__(self, schedule, points, parameterization="x0"):
        super().__init__(schedule, parameterization)
        self.points = points

    def posterior_mean(self, x, alpha, sigma, h):
        distance = ((x[..., None, :] - alpha[..., None] * self.points) ** 2).sum(-1)
        return torch.softmax(-distance / (2 * sigma**2), dim=-1) @ self.points


def drawn_moments(
    sampler: Sampler,
    model: ConditionalDiffusion,
    dim: int,
    start: Start | None = None,
    project: Project | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of what a sampler draws, exactly.

    For normal data a sampler is an affine map of the noises it asks for. Row 0 of a batch gets
    zeros throughout and gives the mean; row ``1 + i * dim + j`` gets a 1 in element j of the
    i-th noise and gives its coefficient.
    """
    calls = len(sampler.timesteps(model))
    rows = torch.zeros(calls, 1 + calls * dim, dim)
    for i in range(calls):
        for j in range(dim):
            rows[i, 1 + i * dim + j, j] = 1.0
    noises = iter(rows)
    h = torch.zeros(1 + calls * dim, dim)
    x = sampler.sample(model, h, lambda: next(noises), start, project)
    gain = (x[1:] - x[0]).numpy()
    return x[0].numpy(), gain.T @ gain


def ancestral(bar, steps, mean, variance, first, share=0.0):
    """Mean and variance that DDPM draws: Ho et al. 2020, eq. 7, between any two steps.

    ``share`` is the power of the forward variance in the variance of a step; ``first`` are the
    moments of the start.
    """
    m, v = first
    for k, j in pairwise([*steps, 0]):
        beta = 1 - bar[k] / bar[j]
        on_x0 = math.sqrt(bar[j]) * beta / (1 - bar[k])
        on_x = math.sqrt(1 - beta) * (1 - bar[j]) / (1 - bar[k])
        tilde = (1 - bar[j]) / (1 - bar[k]) * beta
        added = tilde ** (1 - share) * beta**share if j else 0.0
        gain = math.sqrt(bar[k]) * variance / (bar[k] * variance + 1 - bar[k])
        m, v = (
            on_x * m + on_x0 * (mean + gain * (m - math.sqrt(bar[k]) * mean)),
            (on_x + on_x0 * gain) ** 2 * v + added,
        )
    return m, v


def implicit(bar, steps, mean, variance, first, eta=0.0):
    """Mean and variance that DDIM draws: Song et al. 2021, eq. 12 and 16."""
    m, v = first
    for k, j in pairwise([*steps, 0]):
        noise = eta**2 * (1 - bar[j]) / (1 - bar[k]) * (1 - bar[k] / bar[j])
        gain = math.sqrt(bar[k]) * variance / (bar[k] * variance + 1 - bar[k])
        x0_m, x0_gain = mean + gain * (m - math.sqrt(bar[k]) * mean), gain
        eps_m = (m - math.sqrt(bar[k]) * x0_m) / math.sqrt(1 - bar[k])
        eps_gain = (1 - math.sqrt(bar[k]) * x0_gain) / math.sqrt(1 - bar[k])
        towards = math.sqrt(1 - bar[j] - noise) if j else 0.0
        m = math.sqrt(bar[j]) * x0_m + towards * eps_m
        v = (math.sqrt(bar[j]) * x0_gain + towards * eps_gain) ** 2 * v + noise
    return m, v


def multistep(bar, steps, mean, variance, first, order=2):
    """Mean and variance that DPM-Solver++ draws: Lu et al. 2022, algorithm 2, and its order 3.

    Everything is affine in the one noise of the start: ``value = p[0] + p[1] * noise``.
    """

    def lam(k):
        return 0.5 * math.log(bar[k] / (1 - bar[k]))

    x = np.stack([first[0], np.sqrt(first[1])])
    known: list[tuple[int, np.ndarray]] = []
    for k, j in pairwise([*steps, 0]):
        gain = math.sqrt(bar[k]) * variance / (bar[k] * variance + 1 - bar[k])
        x0 = gain * x
        x0[0] += mean * (1 - gain * math.sqrt(bar[k]))
        if j == 0:  # h is infinite: order 1
            x = x0
        elif bar[k] == 0:  # h is infinite: order 1, exp(-h) = 0
            x = math.sqrt(1 - bar[j]) * x + math.sqrt(bar[j]) * x0
        else:
            h = lam(j) - lam(k)
            last = known[::-1][: order - 1]
            linear = curved = 0.0
            if len(last) == 1:
                r0 = (lam(k) - lam(last[0][0])) / h
                linear = -0.5 * math.expm1(-h) * (x0 - last[0][1]) / r0
            elif len(last) == 2:
                r0 = (lam(k) - lam(last[0][0])) / h
                r1 = (lam(last[0][0]) - lam(last[1][0])) / h
                d0, d1 = (x0 - last[0][1]) / r0, (last[0][1] - last[1][1]) / r1
                phi1 = math.expm1(-h)
                phi2 = phi1 / h + 1
                phi3 = phi2 / h - 0.5
                linear = phi2 * (d0 + r0 / (r0 + r1) * (d0 - d1))
                curved = -phi3 * (d0 - d1) / (r0 + r1)
            x = math.sqrt((1 - bar[j]) / (1 - bar[k])) * x + math.sqrt(bar[j]) * (
                -math.expm1(-h) * x0 + linear + curved
            )
            known.append((k, x0))
    return x[0], x[1] ** 2


def adams(bar, steps, mean, variance, first, order=2):
    """Mean and variance that an Adams-Bashforth method with the signal as time draws.

    Each step integrates the Lagrange polynomial through the last ``order`` slopes ``dx / dalpha``.
    """
    m, v = first
    deviation = np.sqrt(v)
    times, slopes = [], []
    for k, j in pairwise([*steps, 0]):
        alpha = math.sqrt(bar[k])
        gain = alpha * variance / (alpha**2 * variance + 1 - bar[k])
        at_mean = (mean + gain * (m - alpha * mean) - alpha * m) / (1 - bar[k])
        at_deviation = (gain * deviation - alpha * deviation) / (1 - bar[k])
        times.append(alpha)
        slopes.append((at_mean, at_deviation))
        known = list(zip(times, slopes, strict=True))[-order:]
        for own, (of_mean, of_deviation) in known:
            basis = np.polynomial.Polynomial([1.0])
            for other, _ in known:
                if other != own:
                    basis *= np.polynomial.Polynomial([-other, 1.0]) / (own - other)
            whole = basis.integ()
            weight = whole(math.sqrt(bar[j])) - whole(alpha)
            m, deviation = m + weight * of_mean, deviation + weight * of_deviation
    return m, deviation**2
