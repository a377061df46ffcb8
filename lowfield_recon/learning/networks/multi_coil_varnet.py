r"""The end-to-end variational network on the k-space of several coils, its layers fastmri's.

A network estimates the sensitivities S from the fully sampled centre of k-space; every cascade is
``k <- k - eta m (k - y) - F S G(S^H F^H k)``. The coil images that come out are combined with the
sensitivities that the image is defined by, so that it keeps its phase.

References
----------
Sriram A et al. End-to-end variational networks for accelerated MRI reconstruction. MICCAI 2020.
arXiv:2004.06688
"""

from __future__ import annotations

import torch
from torch import nn

from lowfield_recon.errors import DataError
from lowfield_recon.learning.measured import CoilData, Measured
from lowfield_recon.learning.networks.varnet import VarnetSettings
from lowfield_recon.operators.fourier import centred_ifft


class MultiCoilVarnet(nn.Module):
    """The network with its sensitivity network.

    Parameters
    ----------
    settings
        Architecture, of the kind `"multi-coil"`.
    """

    def __init__(self, settings: VarnetSettings) -> None:
        super().__init__()
        from fastmri.models.varnet import VarNet

        self.settings = settings
        self.least_size = 2 ** (max(settings.pools, settings.sensitivity_pools) + 1)
        self.network = VarNet(
            num_cascades=settings.cascades, sens_chans=settings.sensitivity_filters,
            sens_pools=settings.sensitivity_pools, chans=settings.filters, pools=settings.pools,
            mask_center=False,
        )  # fmt: skip
        with torch.no_grad():
            for cascade in self.network.cascades:
                cascade.dc_weight.fill_(settings.step)

    def forward(self, measured: Measured) -> torch.Tensor:
        """Reconstruct.

        Parameters
        ----------
        measured
            Data, scaled, with the k-space of the coils.

        Returns
        -------
            Images, complex `(planes, y, x)`.

        Raises
        ------
        DataError
            If there is no k-space of coils.
        """
        data = measured.coils
        if data is None:
            raise DataError(
                "varnet: these weights take the k-space of a Cartesian scan with coil maps, and "
                "this problem has none; use weights of the kind 'shared' or 'separate'."
            )
        images = self.coil_images(data)
        power = data.maps.abs().square().sum(dim=1)
        floor = torch.finfo(power.dtype).eps * power.amax(dim=(-2, -1), keepdim=True)
        combined = (data.maps.conj() * images).sum(dim=1) / power.clamp(min=floor)
        return torch.where(power > floor, combined, 0)

    def coil_images(self, data: CoilData) -> torch.Tensor:
        """Return the images of the coils; their root sum of squares is the published output.

        Parameters
        ----------
        data
            K-space and mask.

        Returns
        -------
            Complex `(planes, coils, y, x)`.
        """
        kspace = torch.view_as_real(data.kspace.contiguous())
        mask = data.mask[:, None, :, :, None]
        centre = (data.kspace * calibration_region(data.mask)[:, None]).contiguous()
        maps = self.network.sens_net(torch.view_as_real(centre), mask)
        current = kspace.clone()
        for cascade in self.network.cascades:
            current = cascade(current, kspace, mask, maps)
        return centred_ifft(torch.view_as_complex(current.contiguous()), (-2, -1))


def calibration_region(mask: torch.Tensor) -> torch.Tensor:
    """Return the central lines of k-space that are sampled without a gap.

    Along either axis on which the sampling varies, the run of sampled lines about the middle is
    taken as long as its shorter side on both sides, at least one line.

    Parameters
    ----------
    mask
        Sampled positions, bool `(planes, y, x)`, the zero frequency in the middle.

    Returns
    -------
        Bool, of the same shape.

    Examples
    --------
    >>> mask = torch.tensor([1, 0, 1, 1, 1, 1, 0, 1]).bool().expand(1, 8, 8)
    >>> calibration_region(mask)[0, 0].int()
    tensor([0, 0, 1, 1, 1, 1, 0, 0], dtype=torch.int32)
    """
    along_y = _central_run(mask.any(dim=2))
    along_x = _central_run(mask.any(dim=1))
    return along_y[:, :, None] & along_x[:, None, :]


def _central_run(lines: torch.Tensor) -> torch.Tensor:
    """Return the symmetric central run of each row of `(planes, n)`; all of a full row."""
    n = lines.shape[1]
    middle = n // 2
    # The first gap to either side; the argument of the minimum of all ones is 0, as in fastmri.
    left = lines[:, :middle].flip(1).int().argmin(dim=1)
    right = lines[:, middle:].int().argmin(dim=1)
    width = (2 * torch.minimum(left, right)).clamp(min=1)
    first = (n - width + 1) // 2
    place = torch.arange(n, device=lines.device)
    inside = (place >= first[:, None]) & (place < (first + width)[:, None])
    return torch.where(lines.all(dim=1, keepdim=True), True, inside)
