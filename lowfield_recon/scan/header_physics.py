"""Field strength and proton frequency of a header: units, and what one tells of the other."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lowfield_recon.errors import DataError
from lowfield_recon.scan.header_evidence import Evidence, Mend
from lowfield_recon.scan.header_schema import Element, add, find, number_of, set_text
from lowfield_recon.scan.records import Repair

HZ_PER_TESLA = 42.577478518e6
"""Gyromagnetic ratio of the proton over 2π [Hz/T]."""

_FIELD = "acquisitionSystemInformation/systemFieldStrength_T"
_FREQUENCY = "experimentalConditions/H1resonanceFrequency_Hz"
_LARGEST_NUMBER = 1e6


def _field_strength_unit(root: Element, evidence: Evidence) -> Iterator[Repair]:
    """Turn a field in millitesla or gauss into tesla where the proton frequency confirms it."""
    stored, frequency = number_of(root, _FIELD), number_of(root, _FREQUENCY)
    if evidence.field_strength_t is not None or not stored:
        return
    expected = (frequency or 0.0) * (1e6 if (frequency or 0.0) < 1000 else 1.0) / HZ_PER_TESLA
    for unit, per_tesla in (("tesla", 1.0), ("millitesla", 1e3), ("gauss", 1e4)):
        if stored > _LARGEST_NUMBER or abs(stored / per_tesla - expected) > 0.02 * expected:
            continue
        if per_tesla > 1:
            text = repr(stored / per_tesla)
            set_text(find(root, "acquisitionSystemInformation"), "systemFieldStrength_T", text)
            yield Repair(
                code="field-strength-unit",
                message=f"systemFieldStrength_T is in {unit}, as the proton frequency tells; it "
                "was converted to tesla.",
                old=f"{stored:g}",
                new=f"{stored / per_tesla:g} T",
            )
        return
    if stored > 100:
        raise DataError(
            f"{evidence.where}: systemFieldStrength_T is {stored:g}, which is no field in "
            "tesla, and the proton frequency confirms neither millitesla nor gauss; expected 0.001 "
            "to 20. Pass the value, e.g. field_strength_t=0.055."
        )


def _field_strength_given(root: Element, evidence: Evidence) -> Iterator[Repair]:
    """Take the caller's field strength, not the header's."""
    stored = number_of(root, _FIELD)
    given = evidence.field_strength_t
    if given is None or (stored is not None and abs(stored - given) <= 1e-6 * given):
        return
    system = find(root, "acquisitionSystemInformation")
    if system is None:
        system = add(root, "acquisitionSystemInformation")
    set_text(system, "systemFieldStrength_T", repr(given))
    yield Repair(
        code="field-strength-given",
        message="The field strength of the header was replaced by the one that was given.",
        old=None if stored is None else f"{stored:g} T",
        new=f"{given:g} T",
    )


def _conditions_missing(root: Element, _: Evidence) -> Iterator[Repair]:
    """Derive the proton frequency from the field where the header has none."""
    if number_of(root, _FREQUENCY):
        return
    strength = number_of(root, _FIELD)
    if not strength and find(root, _FREQUENCY) is not None:
        return  # a stored zero is how writers say that the frequency is not known
    frequency = round(HZ_PER_TESLA * strength) if strength else 0
    conditions = find(root, "experimentalConditions")
    if conditions is None:
        conditions = add(root, "experimentalConditions")
    set_text(conditions, "H1resonanceFrequency_Hz", str(frequency))
    yield Repair(
        code="frequency-missing",
        message="The header has no proton frequency; it was derived from the field strength."
        if strength
        else "The header has neither proton frequency nor field strength; both are unknown.",
        new=f"{frequency} Hz" if strength else None,
    )


def _frequency_unit(root: Element, _: Evidence) -> Iterator[Repair]:
    """Mend a frequency in megahertz, and one that was divided by 2π twice."""
    found = find(root, _FREQUENCY)
    stored = number_of(root, _FREQUENCY)
    if found is None or not stored:
        return
    frequency = stored
    if frequency < 1000:
        frequency *= 1e6
        yield Repair(
            code="frequency-in-mhz",
            message="The proton frequency is below 1000 Hz; it was taken as megahertz.",
            old=f"{stored:g}",
            new=f"{frequency:.0f} Hz",
        )
    strength = number_of(root, _FIELD)
    if strength and abs(frequency / strength * math.tau / HZ_PER_TESLA - 1) < 0.02:
        yield Repair(
            code="frequency-over-two-pi",
            message="The proton frequency was divided by 2π twice; it was multiplied by 2π.",
            old=f"{frequency:.0f} Hz",
            new=f"{frequency * math.tau:.0f} Hz",
        )
        frequency *= math.tau
    found.text = str(round(frequency))


def _field_disagrees(root: Element, evidence: Evidence) -> Iterator[Repair]:
    """Use the frequency where it and a stored, nominal field differ by more than 2 %."""
    frequency = number_of(root, _FREQUENCY)
    strength = number_of(root, _FIELD)
    if not frequency or not strength or evidence.field_strength_t is not None:
        return
    actual = frequency / HZ_PER_TESLA
    if abs(actual / strength - 1) <= 0.02:
        return
    set_text(find(root, "acquisitionSystemInformation"), "systemFieldStrength_T", repr(actual))
    yield Repair(
        code="field-frequency-disagree",
        message=f"Field and frequency ({frequency:.0f} Hz) disagree by more than 2 %; the "
        "frequency was used.",
        old=f"{strength:g} T",
        new=f"{actual:.5g} T",
    )


PHYSICS: tuple[Mend, ...] = (
    _field_strength_unit,
    _field_strength_given,
    _conditions_missing,
    _frequency_unit,
    _field_disagrees,
)
"""Repairs of field and frequency, in the order in which they run."""
