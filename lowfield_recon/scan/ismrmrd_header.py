"""The ISMRMRD XML header of a measurement, built from the record that the readers fill.

References
----------
ISMRMRD schema: https://github.com/ismrmrd/ismrmrd/blob/master/schema/ismrmrd.xsd
"""

from __future__ import annotations

import math

from ismrmrd import xsd

from lowfield_recon.scan.header_physics import HZ_PER_TESLA
from lowfield_recon.scan.header_user_parameters import user_parameters_element
from lowfield_recon.scan.records import Extent, ScanHeader, Shape


def header_xml(header: ScanHeader, *, is_orientation_known: bool = True) -> bytes:
    """Write the header as schema-valid ISMRMRD XML, with the namespace and units of the schema.

    What is not known is left out; where the schema demands it (frequency, field of view) 0 is
    written, and HFS as patient position.

    Parameters
    ----------
    header
        What is known about the measurement.
    is_orientation_known
        False adds the user parameter `orientation = unknown`.

    Returns
    -------
        XML document, UTF-8.

    Examples
    --------
    >>> size = (1, 4, 8)
    >>> header = ScanHeader(encoded_matrix=size, recon_matrix=size, field_strength_t=0.055)
    >>> b"<H1resonanceFrequency_Hz>2341761<" in header_xml(header)
    True
    """
    document = xsd.ismrmrdHeader(
        version=1,
        measurementInformation=xsd.measurementInformationType(
            patientPosition=xsd.patientPositionType(header.patient_position or "HFS"),
            protocolName=header.protocol,
        ),
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(
            systemVendor=header.vendor,
            systemModel=header.model,
            systemFieldStrength_T=header.field_strength_t,
            relativeReceiverNoiseBandwidth=header.relative_noise_bandwidth,
            receiverChannels=header.n_coils,
            coilLabel=[
                xsd.coilLabelType(coilNumber=i, coilName=f"coil {i}") for i in range(header.n_coils)
            ],
        ),
        experimentalConditions=xsd.experimentalConditionsType(
            H1resonanceFrequency_Hz=_frequency(header)
        ),
        encoding=[_encoding(header)],
        sequenceParameters=xsd.sequenceParametersType(
            TR=_scaled(header.repetition_time_s, 1e3),
            TE=_scaled(header.echo_time_s, 1e3),
            TI=_scaled(header.inversion_time_s, 1e3),
            flipAngle_deg=_scaled(header.flip_angle_rad, 180 / math.pi),
        ),
        userParameters=user_parameters_element(
            header.user_parameters, is_orientation_known=is_orientation_known
        ),
    )
    text = xsd.ToXML(document)
    return text.encode() if isinstance(text, str) else bytes(text)


def _encoding(header: ScanHeader) -> xsd.encodingType:
    known = xsd.encodingLimitsType.__dataclass_fields__
    limits = {
        name: xsd.limitType(minimum=low, maximum=high, center=center)
        for name, (low, high, center) in header.limits.items()
        if name in known
    }
    kinds = {kind.value for kind in xsd.trajectoryType}
    kind = header.trajectory if header.trajectory in kinds else "other"
    return xsd.encodingType(
        encodedSpace=_space(header.encoded_matrix, header.encoded_fov_m),
        reconSpace=_space(header.recon_matrix, header.recon_fov_m),
        encodingLimits=xsd.encodingLimitsType(**limits),
        trajectory=xsd.trajectoryType(kind),
    )


def _space(matrix: Shape, fov_m: Extent | None) -> xsd.encodingSpaceType:
    z, y, x = (round(1e3 * length, 9) for length in fov_m or (0.0, 0.0, 0.0))
    return xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=matrix[2], y=matrix[1], z=matrix[0]),
        fieldOfView_mm=xsd.fieldOfViewMm(x=x, y=y, z=z),
    )


def _frequency(header: ScanHeader) -> int:
    if header.larmor_frequency_hz is not None:
        return round(header.larmor_frequency_hz)
    return round(HZ_PER_TESLA * (header.field_strength_t or 0.0))


def _scaled(values: tuple[float, ...] | None, factor: float) -> list[float]:
    return [round(value * factor, 9) for value in values or ()]
