"""The one place that decides the sign of the Fourier transform."""

from __future__ import annotations


def is_conjugated(format_name: str, vendor: str | None) -> bool:
    """Say whether samples are conjugated on reading, so that the inverse transform gives the image.

    Vendors differ in the sign of the exponent. Siemens data in ISMRMRD files are conjugated, as
    mrpro does; without it the image is reflected about its centre. Everything else is taken as it
    is.

    Parameters
    ----------
    format_name
        Format of the file, see `lowfield_recon.scan.detect`.
    vendor
        Maker of the scanner as the file names it, or None.

    Returns
    -------
        Whether to conjugate.

    Examples
    --------
    >>> is_conjugated("ismrmrd", "SIEMENS"), is_conjugated("ismrmrd", "OSI2")
    (True, False)
    """
    return format_name == "ismrmrd" and (vendor or "").strip().lower() == "siemens"
