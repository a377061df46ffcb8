"""Methods that turn an `InverseProblem` into an image, by name."""

from lowfield_recon.reconstructors.base import Reconstructor, Settings
from lowfield_recon.reconstructors.registry import MethodInfo, create, methods, reconstruct

__all__ = ["MethodInfo", "Reconstructor", "Settings", "create", "methods", "reconstruct"]
