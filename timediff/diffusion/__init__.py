"""Conditional diffusion of vectors: pure torch, knows nothing of time series."""

from timediff.diffusion.denoisers import DENOISERS, Denoiser
from timediff.diffusion.model import ConditionalDiffusion
from timediff.diffusion.parameterization import PARAMETERIZATIONS, Parameterization
from timediff.diffusion.samplers import SAMPLERS, Sampler
from timediff.diffusion.schedule import SCHEDULES, NoiseSchedule, zero_terminal_snr
from timediff.diffusion.views import view
from timediff.diffusion.weighting import WEIGHTINGS, Weighting

__all__ = [
    "DENOISERS",
    "PARAMETERIZATIONS",
    "SAMPLERS",
    "SCHEDULES",
    "WEIGHTINGS",
    "ConditionalDiffusion",
    "Denoiser",
    "NoiseSchedule",
    "Parameterization",
    "Sampler",
    "Weighting",
    "view",
    "zero_terminal_snr",
]
