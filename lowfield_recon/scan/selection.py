"""Which readouts of an ISMRMRD file belong to image, noise or calibration, and which nowhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lowfield_recon.errors import DataError

Indices = npt.NDArray[np.int64]

NOISE = 19
CALIBRATION = 20
CALIBRATION_AND_IMAGING = 21
REVERSED = 22
LAST_IN_MEASUREMENT = 25

NOT_IMAGE: Mapping[int, str] = {
    NOISE: "noise",
    23: "navigator",
    24: "phase correction",
    26: "feedback",
    28: "feedback",
    27: "dummy",
    29: "surface coil correction",
    30: "phase stabilisation",
    31: "phase stabilisation",
    CALIBRATION: "calibration only",
}
"""Flag numbers (counted from 1) that keep a readout out of the image, and what it then is."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Selection:
    """Indices of the readouts by use, and how many were left out and why."""

    image: Indices
    """Readouts of the images."""

    calibration: Indices
    """Readouts for the coil maps: calibration only, and calibration and imaging."""

    noise: Indices
    """Noise readouts with the image's coils."""

    encoding_space: int
    """Encoding of the image readouts."""

    n_coils: int
    """Coils of the image readouts."""

    n_samples: int
    """Kept samples of an image readout."""

    dropped: Mapping[str, int]
    """Readouts outside the image, counted by reason."""


def has_flag(heads: npt.NDArray[np.void], flag: int) -> npt.NDArray[np.bool_]:
    """Return which readouts carry a flag.

    Parameters
    ----------
    heads
        Readout headers, structured.
    flag
        Number of the flag, counted from 1 as in the ISMRMRD documentation.

    Returns
    -------
        Bool `(readouts,)`.

    Examples
    --------
    >>> heads = np.array([(0,), (1 << 18,)], dtype=[("flags", "<u8")])
    >>> has_flag(heads, NOISE).tolist()
    [False, True]
    """
    is_set: npt.NDArray[np.bool_] = (heads["flags"] >> np.uint64(flag - 1)) & np.uint64(1) == 1
    return is_set


def kept_samples(heads: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    """Return the number of samples of each readout without those to be discarded.

    Parameters
    ----------
    heads
        Readout headers, structured.

    Returns
    -------
        int64 `(readouts,)`.
    """
    n = heads["number_of_samples"].astype(np.int64)
    return n - heads["discard_pre"].astype(np.int64) - heads["discard_post"].astype(np.int64)


def encoding_space_of_image(heads: npt.NDArray[np.void], where: str) -> int:
    """Return the encoding that most image readouts refer to.

    Parameters
    ----------
    heads
        Readout headers, structured.
    where
        Name of the file, for errors.

    Returns
    -------
        Index into the header's encodings.

    Raises
    ------
    DataError
        If no readout belongs to an image.
    """
    reasons = _reasons(heads)
    spaces = heads["encoding_space_ref"][reasons == ""]
    if spaces.size == 0:
        kinds = Counter(reasons.tolist())
        raise DataError(
            f"{where}: none of its {heads.size} readouts belongs to an image "
            f"({', '.join(f'{n} {kind}' for kind, n in kinds.items()) or 'it has none'}); "
            "expected image readouts. Check that it is the right measurement."
        )
    return int(np.argmax(np.bincount(spaces)))


def select_readouts(
    heads: npt.NDArray[np.void], *, encoding_space: int, receiver_channels: int | None, where: str
) -> Selection:
    """Sort readouts by flag, then by encoding space, coil count and sample count.

    Parameters
    ----------
    heads
        Readout headers, structured.
    encoding_space
        Encoding of the images, see `encoding_space_of_image`.
    receiver_channels
        Number of coils that the header states, or None.
    where
        Name of the file, for errors.

    Returns
    -------
        Which readouts are what.

    Raises
    ------
    DataError
        If image readouts have no coils or no samples.
    """
    reasons = _reasons(heads)
    keep = reasons == ""
    dropped = Counter(reasons[~keep].tolist())
    calibration = has_flag(heads, CALIBRATION) | has_flag(heads, CALIBRATION_AND_IMAGING)
    calibration &= keep | (reasons == NOT_IMAGE[CALIBRATION])
    n_samples_all = kept_samples(heads)
    coils_all = heads["active_channels"].astype(np.int64)

    def narrow(is_match: npt.NDArray[np.bool_], reason: str) -> None:
        nonlocal keep, calibration
        lost = int((keep & ~is_match).sum())
        if lost:
            dropped[reason] += lost
        keep, calibration = keep & is_match, calibration & is_match

    narrow(heads["encoding_space_ref"] == encoding_space, "other encoding space")
    n_coils = _coil_count(coils_all[keep], receiver_channels)
    narrow(coils_all == n_coils, "other coil count")
    n_samples = int(np.argmax(np.bincount(np.maximum(n_samples_all[keep], 0))))
    narrow(n_samples_all == n_samples, "other sample count")
    if n_coils < 1 or n_samples < 1:
        raise DataError(
            f"{where}: its image readouts have {n_coils} coils and {n_samples} samples; expected "
            "at least one of each. The file was not written completely."
        )
    noise = has_flag(heads, NOISE) & (coils_all == n_coils) & (heads["number_of_samples"] > 0)
    return Selection(
        image=np.flatnonzero(keep),
        calibration=np.flatnonzero(calibration),
        noise=np.flatnonzero(noise),
        encoding_space=encoding_space,
        n_coils=n_coils,
        n_samples=n_samples,
        dropped=dict(dropped),
    )


def _reasons(heads: npt.NDArray[np.void]) -> npt.NDArray[np.str_]:
    """Return what keeps each readout out of the image by its flags, '' where nothing does."""
    reasons = np.full(heads.shape, "", dtype="<U24")
    for flag, reason in NOT_IMAGE.items():
        is_hit = has_flag(heads, flag) & (reasons == "")
        if flag == CALIBRATION:
            is_hit &= ~has_flag(heads, CALIBRATION_AND_IMAGING)
        reasons[is_hit] = reason
    return reasons


def _coil_count(counts: npt.NDArray[np.int64], stated: int | None) -> int:
    if stated is not None and bool((counts == stated).any()):
        return stated
    return int(counts.max())
