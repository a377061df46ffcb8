"""Where matrix and field of view of the header do not fit the readouts that are in the file."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from lowfield_recon.scan.records import Repair, ScanHeader


def reconcile_readout(
    header: ScanHeader, heads: npt.NDArray[np.void], n_samples: int
) -> tuple[ScanHeader, tuple[Repair, ...]]:
    """Make the header's encoded space fit readouts whose oversampling it describes wrongly.

    Two cases are known. The samples are twice the encoded matrix although encoded and image field
    of view are equal: the oversampling is not in the header. The samples are the image matrix,
    symmetric, although the encoded matrix and field of view are larger: it was removed before
    writing.

    Parameters
    ----------
    header
        What the file says.
    heads
        Headers of the image readouts.
    n_samples
        Kept samples of a readout.

    Returns
    -------
        The header and the repairs made.
    """
    n_z, n_y, n_x = header.encoded_matrix
    fov, recon_fov = header.encoded_fov_m, header.recon_fov_m
    if fov is None or recon_fov is None or n_samples == n_x:
        return header, ()
    centers = heads["center_sample"].astype(np.int64) - heads["discard_pre"]
    is_symmetric = bool((np.abs(centers - n_samples // 2) <= 1).all()) or bool(
        ((centers == 0) | (centers >= n_samples)).all()
    )
    ratio = fov[2] / recon_fov[2]
    if not is_symmetric:
        return header, ()
    if n_samples == 2 * n_x and abs(ratio - 1) < 0.01:
        matrix, length, code = (n_z, n_y, n_samples), 2 * fov[2], "oversampling-not-in-header"
        message = (
            "The readouts have twice the encoded matrix; they were taken as oversampled two-fold."
        )
    elif (
        n_samples == header.recon_matrix[2]
        and abs(ratio * n_samples / n_x - 1) < 0.01
        and ratio > 1.01
    ):
        matrix, length, code = (n_z, n_y, n_samples), recon_fov[2], "oversampling-already-removed"
        message = (
            "The readouts have the image's matrix; their oversampling was removed before writing."
        )
    else:
        return header, ()
    repair = Repair(
        code=code,
        message=message,
        old=f"{n_x} samples over {1e3 * fov[2]:g} mm",
        new=f"{n_samples} samples over {1e3 * length:g} mm",
    )
    changed = dataclasses.replace(
        header, encoded_matrix=matrix, encoded_fov_m=(fov[0], fov[1], length)
    )
    return changed, (repair,)
