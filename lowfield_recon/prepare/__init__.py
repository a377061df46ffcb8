"""Steps between what was recorded and what is reconstructed: tensors in, tensors out."""

from lowfield_recon.prepare.averaging import average_repetitions
from lowfield_recon.prepare.coil_compression import (
    CoilCompression,
    compress_coil_maps,
    compress_coils,
    compression_matrices,
)
from lowfield_recon.prepare.coil_maps import estimate_coil_maps
from lowfield_recon.prepare.cropping import crop_center, pad_center, remove_readout_oversampling
from lowfield_recon.prepare.intensity import intensity_scale
from lowfield_recon.prepare.interference import interference_peaks, noise_peaks
from lowfield_recon.prepare.kspace_centre import kspace_centre
from lowfield_recon.prepare.noise import estimate_noise_std
from lowfield_recon.prepare.partial_fourier import complete_partial_fourier
from lowfield_recon.prepare.undersampling import calibration_width, undersampling_mask
from lowfield_recon.prepare.whitening import noise_covariance, prewhiten

__all__ = [
    "CoilCompression",
    "average_repetitions",
    "calibration_width",
    "complete_partial_fourier",
    "compress_coil_maps",
    "compress_coils",
    "compression_matrices",
    "crop_center",
    "estimate_coil_maps",
    "estimate_noise_std",
    "intensity_scale",
    "interference_peaks",
    "kspace_centre",
    "noise_covariance",
    "noise_peaks",
    "pad_center",
    "prewhiten",
    "remove_readout_oversampling",
    "undersampling_mask",
]
