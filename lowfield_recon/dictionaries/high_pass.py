"""What dictionaries are learnt from: an image on its scale, without its smooth part."""

from __future__ import annotations

import torch

from lowfield_recon.solvers.convolutional_model import low_pass_response


def high_passed(image: torch.Tensor, *, beta: float, image_level: float) -> torch.Tensor | None:
    r"""Return ``h = x - argmin_l (1/2 ||l - x||^2 + beta/2 ||G l||^2)`` of an image on its scale.

    x is the image divided by the mean magnitude of its pixels above a tenth of the maximum, times
    `image_level`; G are circular forward differences, so that l is a closed form in Fourier space.

    Parameters
    ----------
    image
        `(y, x)`, real or complex.
    beta
        Weight of the differences, >= 0.
    image_level
        Mean magnitude that the image is scaled to.

    Returns
    -------
        `(y, x)`, float32 or complex64; None for an image that is zero or not finite.

    Examples
    --------
    >>> image = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    >>> abs(float(high_passed(image, beta=0.5, image_level=10.0).mean())) < 1e-5
    True
    """
    peak = float(image.abs().max())
    if not (0 < peak < float("inf")) or not bool(torch.isfinite(image).all()):
        return None
    x = image.to(torch.complex64 if image.is_complex() else torch.float32)
    magnitude = x.abs()
    x = x * (image_level / float(magnitude[magnitude > 0.1 * peak].mean()))
    response = low_pass_response(beta, (x.shape[0], x.shape[1]), device=x.device).to(torch.float32)
    high: torch.Tensor = torch.fft.ifft2((1 - response) * torch.fft.fft2(x))
    return high if x.is_complex() else high.real
