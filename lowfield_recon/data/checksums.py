"""Whether a file is the one that a manifest means."""

from __future__ import annotations

from pathlib import Path


def describe_damage(
    path: Path, *, size_bytes: int | None, sha256: str | None, md5: str | None
) -> str | None:
    """Compare a file with its stated size and checksum.

    Parameters
    ----------
    path
        The file.
    size_bytes, sha256, md5
        What is stated; None is not compared. SHA-256 goes before MD5.

    Returns
    -------
        What was seen and expected, or None where nothing contradicts.

    Raises
    ------
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a"
    >>> _ = path.write_bytes(b"abc")
    >>> describe_damage(path, size_bytes=4, sha256=None, md5=None)
    '3 bytes, expected 4'
    """
    import pooch

    size = path.stat().st_size
    if size_bytes is not None and size != size_bytes:
        return f"{size} bytes, expected {size_bytes}"
    for algorithm, stated in (("sha256", sha256), ("md5", md5)):
        if stated is None:
            continue
        found = pooch.file_hash(str(path), alg=algorithm)
        return None if found == stated else f"{algorithm} {found[:12]}…, expected {stated[:12]}…"
    return None


def human_size(size_bytes: int | None) -> str:
    """Write a size for people.

    Parameters
    ----------
    size_bytes
        Number of bytes, or None.

    Returns
    -------
        The size in units of 1000, `"size not known"` for None.

    Examples
    --------
    >>> human_size(736501), human_size(98_500_000_000), human_size(12)
    ('737 kB', '98.5 GB', '12 B')
    """
    if size_bytes is None:
        return "size not known"
    value, units = float(size_bytes), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.3g} {units[0]}" if units[0] != "B" else f"{size_bytes} B"
