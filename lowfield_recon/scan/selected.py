"""The selected readouts of an ISMRMRD file, and what can be measured on a few of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from lowfield_recon.scan.readouts import ReadoutFile, Samples
from lowfield_recon.scan.records import ScanHeader
from lowfield_recon.scan.selection import REVERSED, Selection, has_flag, kept_samples

Heads = npt.NDArray[np.void]
Ints = npt.NDArray[np.int64]

_MAX_NOISE_READOUTS = 1024
_PROBED_READOUTS = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SelectedReadouts:
    """Headers of image and calibration readouts, in file order, with access to their samples."""

    file: ReadoutFile
    header: ScanHeader
    heads: Heads
    """Headers of the selected readouts."""

    indices: Ints
    """Position of each in the file."""

    is_image: npt.NDArray[np.bool_]
    is_calibration: npt.NDArray[np.bool_]

    @classmethod
    def choose(
        cls, heads: Heads, selection: Selection, header: ScanHeader, file: ReadoutFile
    ) -> SelectedReadouts:
        """Keep the headers of image and calibration readouts.

        Parameters
        ----------
        heads
            All readout headers of the file.
        selection
            Which readout is what.
        header
            What the file says about the measurement.
        file
            Access to the samples.

        Returns
        -------
            The selected readouts.
        """
        indices = np.union1d(selection.image, selection.calibration)
        return cls(
            file=file,
            header=header,
            heads=heads[indices],
            indices=indices,
            is_image=np.isin(indices, selection.image),
            is_calibration=np.isin(indices, selection.calibration),
        )

    def counter(self, name: str) -> Ints:
        """Return one counter of every selected readout.

        Parameters
        ----------
        name
            Name of the counter, e.g. `"slice"`.

        Returns
        -------
            int64 `(readouts,)`.
        """
        values: Ints = self.heads["idx"][name].astype(np.int64)
        return values

    def one(self, readout: int) -> Samples:
        """Read the samples of one selected readout, as they lie in k-space.

        Parameters
        ----------
        readout
            Which of the selected readouts.

        Returns
        -------
            `(coils, samples)` without those to be discarded, reversed ones turned round.
        """
        head = self.heads[[readout]]
        n_stored, first = int(head["number_of_samples"][0]), int(head["discard_pre"][0])
        samples = self.file.samples(self.indices[[readout]], self.header.n_coils, n_stored)[0]
        kept = samples[:, first : first + int(kept_samples(head)[0])]
        ordered: Samples = kept[:, ::-1] if has_flag(head, REVERSED)[0] else kept
        return ordered

    def energy(self, counter: str, value: int) -> float:
        """Return the largest energy among up to 64 readouts of one slice next to a counter value.

        Parameters
        ----------
        counter
            `"kspace_encode_step_1"` or `"kspace_encode_step_2"`.
        value
            Value of that counter; its neighbours count too.

        Returns
        -------
            Sum of squared magnitudes; 0 where there is no such readout.
        """
        is_first_slice = self.counter("slice") == self.counter("slice")[0]
        near = np.flatnonzero((np.abs(self.counter(counter) - value) <= 1) & is_first_slice)
        is_first = counter == "kspace_encode_step_1"
        other = self.counter("kspace_encode_step_2" if is_first else "kspace_encode_step_1")
        middle = np.argsort(np.abs(other[near] - int(np.median(other))), kind="stable")
        energies = [
            float(np.square(np.abs(self.one(int(r)))).sum())
            for r in near[middle][:_PROBED_READOUTS]
        ]
        return max(energies, default=0.0)

    def averages_differ(self) -> bool:
        """Say whether repeated lines of different averages disagree in phase.

        Compares the strongest of a few lines; a difference of more than 60 degrees counts.

        Returns
        -------
            Whether averaging the complex samples would cancel signal.
        """
        names = ("slice", "contrast", "repetition", "phase", "set", "kspace_encode_step_2")
        chosen = np.flatnonzero(self.is_image)
        for name in names:
            chosen = chosen[self.counter(name)[chosen] == self.counter(name)[chosen[0]]]
        steps = self.counter("kspace_encode_step_1")[chosen]
        values, counts = np.unique(steps, return_counts=True)
        repeated = values[counts > 1]
        if repeated.size == 0:
            return False
        strongest: list[Samples] = []
        for step in repeated[:: max(1, repeated.size // _PROBED_READOUTS)]:
            lines = [self.one(int(r)) for r in chosen[steps == step][:8]]
            if not strongest or np.linalg.norm(lines[0]) > np.linalg.norm(strongest[0]):
                strongest = lines
        products = [complex(np.vdot(strongest[0], line)) for line in strongest[1:]]
        return any(product.real < 0.5 * abs(product) for product in products)


def read_noise(
    heads: Heads, selection: Selection, header: ScanHeader, file: ReadoutFile
) -> tuple[torch.Tensor | None, float, list[str]]:
    """Read the noise readouts and find the variance factor from them to the image.

    ``scale = dwell time of the image / dwell time of the noise * relative noise bandwidth``

    Parameters
    ----------
    heads
        All readout headers of the file.
    selection
        Which readout is what.
    header
        What the file says about the measurement.
    file
        Access to the samples.

    Returns
    -------
        Noise `(coils, samples)` or None, the factor, and the assumptions made.

    References
    ----------
    Hansen MS, Kellman P. https://doi.org/10.1002/jmri.24687
    """
    chosen = selection.noise[:_MAX_NOISE_READOUTS]
    if chosen.size == 0:
        return None, 1.0, []
    found = heads[chosen]
    is_alike = (found["sample_time_us"] == found["sample_time_us"][0]) & (
        found["number_of_samples"] == found["number_of_samples"][0]
    )
    block = file.samples(chosen[is_alike], header.n_coils, int(found["number_of_samples"][0]))
    noise = torch.from_numpy(np.ascontiguousarray(block.transpose(1, 0, 2))).flatten(1)
    dwell_time_s = 1e-6 * float(found["sample_time_us"][0])
    if not (dwell_time_s > 0 and header.dwell_time_s):
        return (
            noise,
            1.0,
            ["The dwell times of noise and image are not known; they were taken as equal."],
        )
    bandwidth = header.relative_noise_bandwidth
    notes = [] if bandwidth else ["The header has no relativeReceiverNoiseBandwidth; 1 was taken."]
    return noise, header.dwell_time_s / dwell_time_s * (bandwidth or 1.0), notes
