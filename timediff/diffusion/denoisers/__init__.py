"""Denoising networks, one file each."""

from timediff.diffusion.denoisers.base import DENOISERS, Denoiser
from timediff.diffusion.denoisers.mlp import MLP
from timediff.diffusion.denoisers.variance import LearnedVariance
from timediff.diffusion.denoisers.wavenet import WaveNet

__all__ = ["DENOISERS", "MLP", "Denoiser", "LearnedVariance", "WaveNet"]
