"""Samplers of the reverse chain, one file each."""

from timediff.diffusion.samplers.adams import Adams
from timediff.diffusion.samplers.base import SAMPLERS, Chain, Sampler, Start
from timediff.diffusion.samplers.ddim import DDIM
from timediff.diffusion.samplers.ddpm import DDPM
from timediff.diffusion.samplers.dpm_solver import DPMSolver

__all__ = ["DDIM", "DDPM", "SAMPLERS", "Adams", "Chain", "DPMSolver", "Sampler", "Start"]
