"""Steps between what was recorded and what is reconstructed: tensors in, tensors out."""

from lowfield_recon.prepare.coil_maps import estimate_coil_maps
from lowfield_recon.prepare.cropping import crop_center, pad_center, remove_readout_oversampling
from lowfield_recon.prepare.noise import estimate_noise_std
from lowfield_recon.prepare.undersampling import calibration_width, undersampling_mask
from lowfield_recon.prepare.whitening import noise_covariance, prewhiten

__all__ = [
    "calibration_width",
    "crop_center",
    "estimate_coil_maps",
    "estimate_noise_std",
    "noise_covariance",
    "pad_center",
    "prewhiten",
    "remove_readout_oversampling",
    "undersampling_mask",
]
