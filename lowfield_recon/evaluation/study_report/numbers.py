"""Numbers and intervals as a reader sees them."""

from __future__ import annotations

from lowfield_recon.evaluation.study_report.content import Entry, finite

MISSING = "–"
"""What stands where there is no number."""


def number(value: object, decimals: int, *, is_signed: bool = False) -> str:
    """Write a number with a true minus sign.

    Parameters
    ----------
    value
        Number, or anything else where there is none.
    decimals
        Digits after the point.
    is_signed
        Whether positive numbers get a sign.

    Returns
    -------
        The text; a dash where there is no finite number.

    Examples
    --------
    >>> number(-0.5, 2), number(0.5, 1, is_signed=True), number(None, 1)
    ('−0.50', '+0.5', '–')
    """
    found = finite(value)
    if found is None:
        return MISSING
    text = f"{found:+.{decimals}f}" if is_signed else f"{found:.{decimals}f}"
    return text.replace("-", "−")


def interval(entry: Entry, decimals: int, *, is_signed: bool = False) -> str:
    """Write an entry's interval.

    Parameters
    ----------
    entry
        Entry with `low` and `high`.
    decimals
        Digits after the point.
    is_signed
        Whether positive numbers get a sign.

    Returns
    -------
        `low to high`; a dash where one of them is missing.

    Examples
    --------
    >>> interval({"low": -1.0, "high": 2.0}, 1, is_signed=True)
    '−1.0 to +2.0'
    """
    low, high = finite(entry.get("low")), finite(entry.get("high"))
    if low is None or high is None:
        return MISSING
    return " to ".join(number(v, decimals, is_signed=is_signed) for v in (low, high))


def brief(value: object) -> str:
    """Write a number of unknown size with four digits, and anything else as it is.

    Parameters
    ----------
    value
        Anything that JSON holds.

    Returns
    -------
        The text.

    Examples
    --------
    >>> brief(0.123456), brief(12), brief(None), brief("a")
    ('0.1235', '12', '–', 'a')
    """
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return MISSING if finite(value) is None else f"{value:.4g}".replace("-", "−")
    return str(value)


def probability(value: object) -> str:
    """Write a p value.

    Parameters
    ----------
    value
        Number from 0 to 1, or None.

    Returns
    -------
        Three decimals; `< 0.001` below that; a dash where there is none.

    Examples
    --------
    >>> probability(0.0123), probability(1e-6)
    ('0.012', '< 0.001')
    """
    found = finite(value)
    if found is None:
        return MISSING
    return "< 0.001" if found < 0.001 else f"{found:.3f}"
