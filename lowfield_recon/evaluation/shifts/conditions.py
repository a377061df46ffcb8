"""From levels by name to conditions: the reference, one shift, or several at once.

The order in which several are named plays no part. What is done to an image stands fixed: contrast
curve, inverted contrast, lesion; phase; motion; shading, coils and off-resonance; window and mask;
interference, spikes and noise; gain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.evaluation.shifts.axes import AXES, IMAGE_AXES, Axis
from lowfield_recon.evaluation.shifts.records import REFERENCE, Condition, Level
from lowfield_recon.evaluation.shifts.settings import ScanSettings

_RESERVED = "+="


def reference_condition(base: ScanSettings | None = None) -> Condition:
    """Return the condition against which shifts are measured.

    Parameters
    ----------
    base
        Its settings; None takes the defaults.

    Returns
    -------
        The condition `in distribution`.

    Examples
    --------
    >>> reference_condition().name
    'in distribution'
    """
    return compose({}, base=base)


def compose(levels: Mapping[str, Level], *, base: ScanSettings | None = None) -> Condition:
    """Make a condition of one or several shifts.

    A level that is the reference's own is no shift, and shifts that are none make the reference.

    Parameters
    ----------
    levels
        Level by the name of its axis; of other images the name of their domain.
    base
        Settings of the reference; None takes the defaults.

    Returns
    -------
        The condition; its name lists the axes in the order of `AXES`.

    Raises
    ------
    UsageError
        If there is no such axis, a level is out of range, or two axes ask for other images.

    Examples
    --------
    >>> compose({"window": 0.5, "noise": 0.2}).name
    'noise=0.2+window=0.5'
    >>> compose({"noise": 0.1}).is_reference, compose({"anatomy": "knee"}).is_paired
    (True, False)
    >>> compose({"nois": 0.2})
    Traceback (most recent call last):
        ...
    lowfield_recon.errors.UsageError: axis 'nois': there is none. Did you mean 'noise'? Known: ...
    """
    base = ScanSettings() if base is None else base
    for name in levels:
        if name not in AXES:
            hint = nearest_name(name, list(AXES))
            raise UsageError(f"axis '{name}': there is none. {hint}")
    wanted = {name: _checked(AXES[name], levels[name], base) for name in AXES if name in levels}
    shifts = {n: v for n, v in wanted.items() if v != _of(base, AXES[n]) or AXES[n].setting is None}
    domains = [name for name in shifts if name in IMAGE_AXES]
    if len(domains) > 1:
        raise UsageError(
            f"condition {'+'.join(domains)}: each of these asks for other images; choose one."
        )
    update: dict[str, Level] = {}
    for name in shifts:
        for companion, level in AXES[name].companions:
            axis = AXES[companion]
            if _of(base, axis) == axis.reference:
                update[companion.replace("-", "_")] = level
    update |= {name.replace("-", "_"): v for name, v in shifts.items() if name not in domains}
    axes = [AXES[name] for name in shifts]
    words = [_word(level) for level in shifts.values()]
    return Condition(
        name="+".join(f"{n}={w}" for n, w in zip(shifts, words, strict=True)) or REFERENCE,
        axis="+".join(shifts),
        level=next(iter(shifts.values())) if len(shifts) == 1 else "+".join(words),
        title=", ".join(_title(a, w) for a, w in zip(axes, words, strict=True)) or REFERENCE,
        unit=axes[0].unit if len(axes) == 1 else "",
        levels=tuple(shifts.items()),
        settings=base.model_copy(update=update),
        domain=str(shifts[domains[0]]) if domains else None,
        is_reference=not shifts,
        is_paired=not domains,
    )


def axis_conditions(
    name: str, levels: Sequence[Level] | None = None, *, base: ScanSettings | None = None
) -> list[Condition]:
    """Make the conditions along one axis, the reference left out.

    Parameters
    ----------
    name
        Axis.
    levels
        Levels; None takes the axis's own.
    base
        Settings of the reference; None takes the defaults.

    Returns
    -------
        One condition per level, in their order, none twice.

    Raises
    ------
    UsageError
        If the axis is unknown, a level out of range, or other images are asked for without saying
        which.

    Examples
    --------
    >>> [condition.name for condition in axis_conditions("inversion")]
    ['inversion=0.5', 'inversion=1']
    """
    if name in IMAGE_AXES and not levels:
        raise UsageError(
            f"axis '{name}': its levels are domains of images; name them, e.g. {name}: [knee]."
        )
    chosen = levels if levels else AXES[name].levels if name in AXES else ("",)
    found = {c.name: c for c in (compose({name: level}, base=base) for level in chosen)}
    return [condition for condition in found.values() if not condition.is_reference]


def condition_from(text: str, *, base: ScanSettings | None = None) -> Condition:
    """Make a condition from its name.

    Parameters
    ----------
    text
        Axes and levels such as `noise=0.2+window=0.5`, or `in distribution`.
    base
        Settings of the reference; None takes the defaults.

    Returns
    -------
        The condition.

    Raises
    ------
    UsageError
        If the text is no such name.

    Examples
    --------
    >>> condition_from("window=0.5+noise=0.2").name
    'noise=0.2+window=0.5'
    """
    levels: dict[str, Level] = {}
    for part in text.split("+") if text.strip() != REFERENCE else ():
        name, sign, word = (piece.strip() for piece in part.partition("="))
        if not (name and sign and word) or name in levels:
            raise UsageError(
                f"condition '{text}': expected axes and levels, each axis once, such as "
                "noise=0.2+window=0.5."
            )
        levels[name] = word if name in IMAGE_AXES else _number_or_word(word)
    return compose(levels, base=base)


def _of(settings: ScanSettings, axis: Axis) -> Level | None:
    value: Level | None = None if axis.setting is None else getattr(settings, axis.setting)
    return value


def _checked(axis: Axis, level: Level, base: ScanSettings) -> Level:
    """Return the level as the settings hold it."""
    if axis.setting is None:
        text = str(level).strip()
        if not text or any(sign in text for sign in _RESERVED):
            raise UsageError(
                f"{axis.name}={level}: expected the name of a domain, without '+' and '='."
            )
        return text
    try:
        checked = ScanSettings.model_validate({**base.model_dump(), axis.setting: level})
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise UsageError(
            f"{axis.name}={level}: {message[0].lower()}{message[1:]}; see the axis "
            f"'{axis.title}', whose usual levels are {', '.join(map(_word, axis.levels))}."
        ) from error
    value: Level = getattr(checked, axis.setting)
    return value


def _word(level: Level) -> str:
    return level if isinstance(level, str) else f"{level:g}"


def _title(axis: Axis, word: str) -> str:
    return f"{axis.title} {word} {axis.unit}".rstrip()


def _number_or_word(word: str) -> Level:
    try:
        return float(word)
    except ValueError:
        return word
