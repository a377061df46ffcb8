"""What `lowfield-recon info` shows of a scan, as values that JSON can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowfield_recon.scan.records import Scan


def describe_scan(scan: Scan) -> dict[str, Any]:
    """Describe a scan; the samples of its first image are read for the sampling.

    Parameters
    ----------
    scan
        The scan.

    Returns
    -------
        Format, sizes, physics, sampling, noise, targets, repairs, assumptions and left-out
        readouts.

    Raises
    ------
    DataError
        If the samples of the first image cannot be read.
    """
    header = scan.header
    n_volumes, n_slices = scan.volume_shape
    noise = scan.noise
    return {
        "file": scan.path.name,
        "format": scan.format,
        "trajectory": header.trajectory,
        "coils": header.n_coils,
        "volumes": n_volumes,
        "slices": n_slices,
        "encoded_matrix_zyx": list(header.encoded_matrix),
        "recon_matrix_zyx": list(header.recon_matrix),
        "encoded_fov_m_zyx": _as_list(header.encoded_fov_m),
        "recon_fov_m_zyx": _as_list(header.recon_fov_m),
        "field_strength_t": header.field_strength_t,
        "larmor_frequency_hz": header.larmor_frequency_hz,
        "vendor": header.vendor,
        "model": header.model,
        "protocol": header.protocol,
        "echo_time_s": _as_list(header.echo_time_s),
        "repetition_time_s": _as_list(header.repetition_time_s),
        "inversion_time_s": _as_list(header.inversion_time_s),
        "flip_angle_rad": _as_list(header.flip_angle_rad),
        "patient_position": header.patient_position,
        "user_parameters": dict(header.user_parameters),
        "sampling_fraction": scan.source.sampling_fraction(),
        "readouts": scan.n_readouts,
        "noise_samples_per_coil": 0 if noise is None else int(noise.shape[-1]),
        "noise_scale": None if noise is None else scan.noise_scale,
        "dropped_readouts": dict(scan.dropped),
        "targets": list(scan.targets),
        "target_maximum": scan.target_maximum,
        "repairs": [
            {"code": r.code, "message": r.message, "old": r.old, "new": r.new} for r in scan.repairs
        ],
        "assumptions": list(scan.assumptions),
    }


def _as_list(values: tuple[float, ...] | None) -> list[float] | None:
    return None if values is None else list(values)
