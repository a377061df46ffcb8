"""Scans that were never measured: k-space from an image, by a recipe that says everything."""

from lowfield_recon.simulation.recipe import Recipe
from lowfield_recon.simulation.simulate import Simulated, simulate_kspace

__all__ = ["Recipe", "Simulated", "simulate_kspace"]
