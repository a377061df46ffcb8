"""Sentences on what is done to every image of a scan before it is reconstructed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lowfield_recon.prepare.coil_compression import CoilCompression
    from lowfield_recon.scan.preparation import Undersampling
    from lowfield_recon.scan.records import Scan, ScanHeader, Shape


def noise_sentence(scan: Scan, *, is_whitened: bool) -> str:
    """Say where the noise level comes from.

    Parameters
    ----------
    scan
        The scan.
    is_whitened
        Whether its noise readouts are used.

    Returns
    -------
        One sentence.
    """
    if is_whitened:
        return f"coils whitened with the noise readouts, variance factor {scan.noise_scale:.4g}"
    if scan.noise is not None:
        return "coils not whitened although there are noise readouts"
    return "no noise readouts: noise level estimated from the border of k-space"


def field_of_view_sentences(header: ScanHeader, matrix: Shape) -> list[str]:
    """Say where the field of view was cut, and where it was not although the header asks for it.

    Parameters
    ----------
    header
        What the file says.
    matrix
        Size of the image (z, y, x).

    Returns
    -------
        None to three sentences.
    """
    sentences = []
    if matrix != header.encoded_matrix:
        sentences.append(f"field of view cut from {header.encoded_matrix} to {matrix} (z, y, x)")
    fov, recon_fov = header.encoded_fov_m, header.recon_fov_m
    if fov is not None and recon_fov is not None and header.trajectory in ("cartesian", "epi"):
        for axis, whole, image in zip("zy", fov, recon_fov, strict=False):
            if abs(whole - image) > 1e-3 * whole:
                sentences.append(
                    f"field of view along {axis} kept as encoded ({1e3 * whole:.4g} mm, not "
                    f"{1e3 * image:.4g} mm)"
                )
    return sentences


def compression_sentence(choice: CoilCompression, n_coils: int) -> str:
    """Say to how many virtual coils the coils are compressed.

    Parameters
    ----------
    choice
        Method and number.
    n_coils
        Number of coils of the scan.

    Returns
    -------
        One sentence.
    """
    if n_coils == 1:
        return "one coil, which is not compressed"
    if choice.virtual_coils is not None:
        if choice.virtual_coils >= n_coils:
            return f"{n_coils} coils not compressed, since {choice.virtual_coils} were asked for"
        return f"{n_coils} coils compressed to {choice.virtual_coils} ({choice.method})"
    return (
        f"{n_coils} coils compressed to as many as hold {100 * choice.least_energy:g} % of each "
        f"image's energy ({choice.method})"
    )


def sampling_sentences(
    *,
    is_gridded: bool,
    shift: Shape | None,
    partial_fourier: str,
    undersampling: Undersampling | None,
) -> list[str]:
    """Say what was done to the samples' places: moved, filled, left out.

    Parameters
    ----------
    is_gridded
        Whether the scan has no trajectory.
    shift
        Samples by which k-space is moved along (k2, k1, k0), or None where that was not asked for.
    partial_fourier
        How partial Fourier scans are filled.
    undersampling
        Samples left out, or None.

    Returns
    -------
        None to three sentences.
    """
    sentences = []
    if shift is not None and is_gridded:
        moves = [
            f"{n:+d} samples along {name}"
            for n, name in zip(shift, ("k2", "k1", "k0"), strict=True)
            if n
        ]
        sentences.append(
            f"k-space moved by {' and '.join(moves)}" if moves else "k-space is centred, not moved"
        )
    elif shift is not None:
        sentences.append("k-space not recentred, since the scan has a trajectory")
    if partial_fourier != "zero-filled" and is_gridded:
        sentences.append(f"missing side of k-space filled by {partial_fourier}")
    elif partial_fourier != "zero-filled":
        sentences.append(f"no {partial_fourier}, since the scan has a trajectory")
    if undersampling is not None:
        sentences.append(f"samples left out: {undersampling}")
    return sentences
