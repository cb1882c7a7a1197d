"""Conditional diffusion of vectors: pure torch, knows nothing of time series."""

from timediff.diffusion.denoisers import DENOISERS, Denoiser
from timediff.diffusion.model import ConditionalDiffusion
from timediff.diffusion.parameterization import PARAMETERIZATIONS, Parameterization
from timediff.diffusion.samplers import SAMPLERS, Sampler
from timediff.diffusion.schedule import SCHEDULES, NoiseSchedule, zero_terminal_snr
from timediff.diffusion.views import view

__all__ = [
    "DENOISERS",
    "PARAMETERIZATIONS",
    "SAMPLERS",
    "SCHEDULES",
    "ConditionalDiffusion",
    "Denoiser",
    "NoiseSchedule",
    "Parameterization",
    "Sampler",
    "view",
    "zero_terminal_snr",
]
