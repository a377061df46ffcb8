"""The methods of a study: settings, weights of each training, and hashes of all of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.files import sha256_of
from lowfield_recon.learning.shipped_weights import describe_weights
from lowfield_recon.learning.weight_files import SHIPPED, SUFFIX
from lowfield_recon.manifest import to_plain
from lowfield_recon.reconstructors import create

_FILES = ("weights", "dictionary")
"""Settings that name files."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arm:
    """One method with its settings, as a column of the study."""

    name: str
    """Name in all tables."""

    method: str
    """Name of the method in the registry."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Its settings."""

    weights: tuple[str, ...] = ()
    """Trained weights by name or path, one for each seed of the study or one for all; none where
    the method has none or takes its own."""

    label: str | None = None
    """What people call it; None for its name."""

    note: str | None = None
    """What one should know of it."""

    search: str | None = None
    """Setting whose best value is searched for each image with its truth: an upper bound."""

    skips: tuple[str, ...] = ()
    """Axes or conditions that it is not asked for, because it cannot take them."""

    @property
    def shown_as(self) -> str:
        """What people call it."""
        return self.name if self.label is None else self.label

    def settings_for(self, position: int, seed: int) -> dict[str, Any]:
        """Return the settings of one seed.

        Parameters
        ----------
        position
            Place of the seed in the study.
        seed
            The seed, which the method uses too unless its settings name one.

        Returns
        -------
            Settings for `create`.

        Examples
        --------
        >>> arm = Arm(name="full", method="cdl-lambda", weights=("a", "b"))
        >>> arm.settings_for(1, 7)
        {'seed': 7, 'weights': 'b'}
        """
        settings = {"seed": seed, **self.settings}
        if self.weights:
            settings["weights"] = self.weights[position if len(self.weights) > 1 else 0]
        return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmHashes:
    """What a row of an arm depends on."""

    settings: str
    """SHA-256 of method and settings, files by their content."""

    weights: str
    """SHA-256 of its weights; empty where it has none."""


def check_arms(arms: Sequence[Arm], seeds: Sequence[int]) -> None:
    """Check names, settings and files of all arms before anything is computed.

    Parameters
    ----------
    arms
        The arms.
    seeds
        Seeds of the study.

    Raises
    ------
    UsageError
        If two arms share a name, a method, a setting or weights do not exist, or the number of
        weights is not that of the seeds.
    """
    for arm in arms:
        if [other.name for other in arms].count(arm.name) > 1:
            raise UsageError(f"methods: two are called '{arm.name}'; give each a name of its own.")
        if len(arm.weights) not in (0, 1, len(seeds)):
            raise UsageError(
                f"method '{arm.name}': {len(arm.weights)} weights for {len(seeds)} seeds; expected "
                "one for all or one for each seed."
            )
        if arm.weights and "weights" in arm.settings:
            raise UsageError(
                f"method '{arm.name}': weights stand in its settings too; keep one of them."
            )
        for position, seed in enumerate(seeds):
            settings = resolved_settings(arm, position, seed)
            if isinstance(settings.get("weights"), str):
                describe_weights(settings["weights"])
        if arm.search is not None:
            _check_search(arm, resolved_settings(arm, 0, 0))


def resolved_settings(arm: Arm, position: int, seed: int) -> dict[str, Any]:
    """Return all settings of an arm, those that it leaves to the method with their defaults.

    Parameters
    ----------
    arm
        The arm.
    position, seed
        Place of the seed, and the seed.

    Returns
    -------
        Settings by name.

    Raises
    ------
    UsageError
        If method or setting does not exist; the message names the arm.
    """
    try:
        found = create(arm.method, arm.settings_for(position, seed)).settings
    except UsageError as error:
        raise UsageError(f"method '{arm.name}': {error}") from error
    return dict(found.model_dump(mode="json"))


def hash_arm(arm: Arm, position: int, seed: int) -> ArmHashes:
    """Hash all that an arm's result depends on besides the problem and the code.

    Parameters
    ----------
    arm
        The arm.
    position, seed
        Place of the seed, and the seed.

    Returns
    -------
        The hashes; the place of a file does not matter.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    settings = resolved_settings(arm, position, seed)
    contents = {
        name: sha256_of(path)
        for name in _FILES
        if (path := _file_of(name, settings.get(name))) is not None
    }
    words = [arm.method, arm.search, to_plain({**settings, **contents})]
    digest = hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()
    return ArmHashes(settings=digest, weights=contents.get("weights", ""))


def describe_arm(arm: Arm, seeds: Sequence[int]) -> dict[str, Any]:
    """Describe an arm for the study's record.

    Parameters
    ----------
    arm
        The arm.
    seeds
        Seeds of the study.

    Returns
    -------
        Name, label, method, settings, weights, number of trained parameters and note.
    """
    settings = resolved_settings(arm, 0, seeds[0])
    sources = [
        resolved_settings(arm, position, seed).get("weights") for position, seed in enumerate(seeds)
    ]
    names = [source for source in dict.fromkeys(sources) if isinstance(source, str)]
    cards = [describe_weights(name).card for name in names]
    counts = [card["n_parameters"] for card in cards if isinstance(card.get("n_parameters"), int)]
    notes = [arm.note] if arm.note else []
    if arm.search:
        notes.append(f"{arm.search} searched for each image with the truth: an upper bound")
    if arm.skips:
        notes.append(f"not asked for {', '.join(arm.skips)}")
    described = {
        "name": arm.name,
        "label": arm.shown_as,
        "method": arm.method,
        "settings": {
            name: Path(value).name if name in _FILES and isinstance(value, str) else value
            for name, value in settings.items()
            if name != "seed"
        },
        "weights": [Path(name).name for name in names],
        "parameters": counts[0] if counts else None,
        "note": "; ".join(notes) or None,
    }
    return dict(to_plain(described))


def _file_of(name: str, value: Any) -> Path | None:
    """Return the file that a setting names, or None for a name in the shipped bank."""
    if not isinstance(value, str):
        return None
    if name == "weights" and Path(value).suffix != SUFFIX:
        return SHIPPED / f"{value}{SUFFIX}"
    path = Path(value)
    return path if path.is_file() else None


def _check_search(arm: Arm, settings: Mapping[str, Any]) -> None:
    known = [name for name, value in settings.items() if not isinstance(value, str | bool)]
    if arm.search not in known:
        raise UsageError(
            f"method '{arm.name}': search: '{arm.search}' is no setting with a number. "
            f"{nearest_name(str(arm.search), known)}"
        )
