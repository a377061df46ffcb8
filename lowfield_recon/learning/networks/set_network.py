r"""Sparsity-level maps by a network over the set of filters, with every symmetry of the problem.

``Lambda_k = sigma g_k h_k``, h from ``log(1 + |u_k| / (sigma g_k))``, ``u = D^H (x_0 - x_low)``.
What filter k sees of the others are the mean and the maximum of their features, through a U-Net
that runs once for all of them, so that its cost does not grow with K. Consequences, all exact: the
maps follow a permutation of the filters, ignore signs, phases and zero filters, scale with the data
and with the gain of each filter, and any K and kernel size will do.

References
----------
Zaheer M et al. Deep sets. arXiv:1703.06114
Perez E et al. FiLM: visual reasoning with a general conditioning layer. arXiv:1709.07871
Schulz J et al. arXiv:2602.21707
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from lowfield_recon.learning.networks.inputs import MapInput
from lowfield_recon.learning.networks.unet import UNet

_N_IMAGE_FEATURES = 3
_N_DESCRIPTORS = 8
_UNIT = 2.0
_START = 1.3
_LEAST_POWER = 1e-12


class SetNetwork(nn.Module):
    """The set network.

    Parameters
    ----------
    filters
        Channels of the first stage of the U-Net.
    stages
        Its resolutions.
    features
        Channels of the features of a filter.
    hidden
        Channels where the features of a filter meet the context of all.
    """

    def __init__(
        self, *, filters: int = 14, stages: int = 2, features: int = 8, hidden: int = 16
    ) -> None:
        super().__init__()
        self.features = features
        self.hidden = hidden

        def convolution(n_in: int, n_out: int) -> nn.Conv2d:
            return nn.Conv2d(n_in, n_out, 3, padding=1, padding_mode="circular")

        self.encode = convolution(1, features)
        self.context = UNet(
            2 * features + _N_IMAGE_FEATURES, hidden, filters=filters, stages=stages,
            padding="circular",
        )  # fmt: skip
        self.refine = convolution(features, hidden)
        self.condition = nn.Sequential(
            nn.Linear(_N_DESCRIPTORS, hidden), nn.LeakyReLU(0.01), nn.Linear(hidden, 2 * hidden)
        )
        self.out = convolution(hidden, 1)
        if self.out.bias is not None:
            nn.init.constant_(self.out.bias, math.log(math.expm1(_START / _UNIT)))

    def forward(self, data: MapInput) -> torch.Tensor:
        """Return the maps.

        Parameters
        ----------
        data
            Planes and dictionary.

        Returns
        -------
            Lambda, real `(K, planes, y, x)`.
        """
        noise = data.gains() * data.noise_std
        present = noise > 0
        unit = torch.where(present, noise, torch.ones_like(noise))
        spectrum = torch.fft.fft2(data.adjoint - data.smooth)
        chunks = list(data.chunks(2 * (self.features + self.hidden)))
        # Features of all filters at once are kept; those of chunks are computed a second time.
        kept = self._encoded(data, spectrum, unit, chunks[0]) if len(chunks) == 1 else None

        def encoded(chunk: slice) -> torch.Tensor:
            return self._encoded(data, spectrum, unit, chunk) if kept is None else kept

        context = self.context(self._pooled(data, encoded, present, chunks))
        style = self.condition(_descriptors(data))
        maps = [self._maps(encoded(chunk), context, style[chunk]) for chunk in chunks]
        floor = unit * torch.finfo(unit.dtype).eps
        return torch.cat(maps) * noise[..., None, None] + floor[..., None, None]

    def _encoded(
        self, data: MapInput, spectrum: torch.Tensor, unit: torch.Tensor, chunk: slice
    ) -> torch.Tensor:
        """Return the features of some filters, `(k planes, features, y, x)`."""
        size = data.coefficients(spectrum, chunk).abs() / unit[chunk][..., None, None]
        features: torch.Tensor = functional.leaky_relu(
            self.encode(torch.log1p(size).flatten(0, 1)[:, None]), 0.01
        )
        return features

    def _pooled(
        self,
        data: MapInput,
        encode: Callable[[slice], torch.Tensor],
        present: torch.Tensor,
        chunks: list[slice],
    ) -> torch.Tensor:
        """Return mean and maximum over the filters that are not zero, and the image's features."""
        n_planes = data.adjoint.shape[0]
        total: torch.Tensor | None = None
        largest: torch.Tensor | None = None
        for chunk in chunks:
            features = encode(chunk)
            encoded = features.reshape(-1, n_planes, *features.shape[1:])
            there = present[chunk][..., None, None, None]
            part = (encoded * there).sum(dim=0)
            peak = encoded.masked_fill(~there, -math.inf).amax(dim=0)
            total = part if total is None else total + part
            largest = peak if largest is None else torch.maximum(largest, peak)
        if total is None or largest is None:
            raise ValueError("the dictionary holds no kernel.")
        number = present.sum(dim=0).clamp(min=1)[:, None, None, None]
        largest = torch.where(present.any(dim=0)[:, None, None, None], largest, 0.0)
        return torch.cat([total / number, largest, _image_features(data)], dim=1)

    def _maps(
        self, encoded: torch.Tensor, context: torch.Tensor, style: torch.Tensor
    ) -> torch.Tensor:
        """Return h of some filters, `(k, planes, y, x)`."""
        n_planes = context.shape[0]
        own = self.refine(encoded)
        gain, offset = style[..., None, None].chunk(2, dim=2)
        met = own.reshape(-1, n_planes, *own.shape[1:]) + (1 + gain) * context + offset
        u: torch.Tensor = self.out(functional.leaky_relu(met.flatten(0, 1), 0.01))
        return _UNIT * functional.softplus(u).reshape(-1, n_planes, *u.shape[-2:])


def _image_features(data: MapInput) -> torch.Tensor:
    """Return three moduli over the noise of a pixel, `(planes, 3, y, x)`."""
    noise = data.noise_std * data.eigenvalues.mean(dim=(-2, -1)).sqrt()
    unit = noise.clamp(min=torch.finfo(noise.dtype).tiny)[:, None, None]
    images = (data.adjoint, data.smooth, data.adjoint - data.smooth)
    return torch.stack([torch.log1p(image.abs() / unit) for image in images], dim=1)


def _descriptors(data: MapInput) -> torch.Tensor:
    """Return what tells filters and scans apart, whatever the sign and gain, `(K, planes, 8)`.

    Of a filter: mean of the radius, of both squared frequencies and concentration of its power
    spectrum; of a filter in a scan: how much of that is sampled, and the mean radius of that part;
    of a scan: signal over noise, and the sampled part of k-space.
    """
    power = data.spectra.values[:, 0].abs().square()
    least = torch.finfo(power.dtype).tiny
    size = power.shape[-2:]
    fy, fx = (torch.fft.fftfreq(n, dtype=power.dtype, device=power.device) for n in size)
    fy, fx = torch.meshgrid(fy, fx, indexing="ij")
    radius = (fy**2 + fx**2).sqrt()

    def moment(weight: torch.Tensor) -> torch.Tensor:
        return torch.einsum("kyx,yx->k", power, weight)

    whole = moment(torch.ones_like(radius)).clamp(min=_LEAST_POWER)
    squares = torch.einsum("kyx,kyx->k", power, power) / whole.square()
    own = torch.stack(
        [
            4 * moment(radius) / whole,
            16 * moment(fy**2) / whole,
            16 * moment(fx**2) / whole,
            (squares * radius.numel()).clamp(min=1e-3).log() / 4,
        ],
        dim=-1,
    )
    rows = []
    for m, sigma, image in zip(data.eigenvalues, data.noise_std, data.adjoint, strict=True):
        seen, peak = moment(m) / whole, m.max().clamp(min=least)
        where = moment(m * radius) / whole / seen.clamp(min=1e-6)
        pixel = (sigma * m.mean().sqrt()).clamp(min=least)
        snr = torch.log1p(image.abs().square().mean().sqrt() / pixel)
        sampled = (m > 0.01 * peak).to(m.dtype).mean()
        scan = torch.stack([snr / 2, sampled]).expand(len(seen), 2)
        rows.append(torch.cat([own, torch.stack([seen / peak, 4 * where], -1), scan], dim=-1))
    return torch.stack(rows, dim=1)
