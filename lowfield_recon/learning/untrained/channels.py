"""Images as the channels of a network, and the noise that goes into it."""

from __future__ import annotations

import math

import torch


def channel_count(shape: tuple[int, ...], *, is_complex: bool) -> int:
    """Return how many real channels an image has: one for each plane, two for a complex one.

    Parameters
    ----------
    shape
        Shape of the image, `(..., y, x)`.
    is_complex
        Whether its values are.

    Returns
    -------
        The number.

    Examples
    --------
    >>> channel_count((1, 3, 1, 8, 8), is_complex=False), channel_count((4, 8, 8), is_complex=True)
    (3, 8)
    """
    return math.prod(shape[:-2]) * (2 if is_complex else 1)


def to_channels(image: torch.Tensor) -> torch.Tensor:
    """Return an image as real channels `(1, channels, y, x)`.

    Of a complex image each plane gives two, its real and its imaginary part.

    Parameters
    ----------
    image
        Image `(..., y, x)`.

    Returns
    -------
        The channels.

    Examples
    --------
    >>> to_channels(torch.tensor([[[1 + 2j]]])).flatten()
    tensor([1., 2.])
    """
    planes = image.reshape(-1, *image.shape[-2:])
    if not planes.is_complex():
        return planes[None]
    parts = torch.view_as_real(planes).permute(0, 3, 1, 2)
    return parts.reshape(1, -1, *image.shape[-2:])


def from_channels(
    channels: torch.Tensor, shape: tuple[int, ...], *, is_complex: bool
) -> torch.Tensor:
    """Return the image of channels, the inverse of `to_channels`.

    Parameters
    ----------
    channels
        Real `(1, channels, y, x)`.
    shape
        Shape of the image.
    is_complex
        Whether its values are.

    Returns
    -------
        The image.

    Examples
    --------
    >>> x = torch.randn(1, 2, 1, 3, 4, dtype=torch.complex64)
    >>> bool((from_channels(to_channels(x), x.shape, is_complex=True) == x).all())
    True
    """
    if not is_complex:
        return channels.reshape(shape)
    parts = channels.reshape(-1, 2, *shape[-2:]).permute(0, 2, 3, 1).contiguous()
    return torch.view_as_complex(parts).reshape(shape)


class NoiseInput:
    r"""The fixed random input of a network, with fresh noise on top at every iteration.

    ``z + s e``, ``z ~ 0.1 U(0, 1)``, ``e ~ N(0, 1)`` anew each time; all from one generator on the
    CPU, so that a seed gives the same numbers on every device.

    With shifts the network is shown a frame that is so many pixels larger, in which the image, and
    z with it, begins at another place each time.

    Parameters
    ----------
    channels
        Of the input.
    size
        Rows and columns.
    noise
        s.
    generator
        Where the numbers come from.
    device
        Where they go.
    shifts
        Most pixels that the image moves along y and x.

    Examples
    --------
    >>> z = NoiseInput(2, (4, 4), noise=0.03, generator=torch.Generator().manual_seed(0))
    >>> z.fixed.shape, bool((z.perturbed() == z.fixed).any())
    (torch.Size([1, 2, 4, 4]), False)
    >>> generator = torch.Generator().manual_seed(0)
    >>> z = NoiseInput(2, (4, 4), noise=0.0, generator=generator, shifts=1)
    >>> torch.equal(z.perturbed((1, 0))[..., 1:5, 0:4], z.fixed)
    True
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        *,
        noise: float,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
        shifts: int = 0,
    ) -> None:
        """Draw the fixed part."""
        self._generator = generator
        self._shifts = shifts
        self._size = size
        self.noise = noise
        wide = [n + 2 * shifts for n in size]
        self._wide = (0.1 * torch.rand(1, channels, *wide, generator=generator)).to(device)
        self.fixed = self._window((shifts, shifts), size)

    def place(self) -> tuple[int, int]:
        """Return where in its frame the image begins next, row and column."""
        if self._shifts == 0:
            return 0, 0
        y, x = torch.randint(0, self._shifts + 1, (2,), generator=self._generator).tolist()
        return y, x

    def perturbed(self, place: tuple[int, int] = (0, 0)) -> torch.Tensor:
        """Return the frame in which the image begins at a place, with fresh noise."""
        y, x = place
        rows, columns = (n + self._shifts for n in self._size)
        frame = self._window((self._shifts - y, self._shifts - x), (rows, columns))
        if self.noise == 0:
            return frame
        fresh = torch.randn(frame.shape, generator=self._generator)
        return frame + self.noise * fresh.to(frame.device)

    def _window(self, start: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
        (y, x), (rows, columns) = start, size
        return self._wide[..., y : y + rows, x : x + columns]


class RunningMean:
    r"""Mean of the iterates so far in which old ones fade.

    ``m <- d m + (1 - d) x``, corrected for its start at zero.

    Parameters
    ----------
    decay
        d in 0..1; 0 is the newest iterate.

    Examples
    --------
    >>> mean = RunningMean(0.9)
    >>> float(mean(torch.tensor(2.0))), round(float(mean(torch.tensor(4.0))), 4)
    (2.0, 3.0526)
    """

    def __init__(self, decay: float) -> None:
        """Begin with nothing."""
        self._decay = decay
        self._weight = 0.0
        self._mean: torch.Tensor | None = None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Take an iterate in and return the mean; it is overwritten at the next call."""
        self._weight = self._decay * self._weight + (1 - self._decay)
        if self._mean is None:
            self._mean = x.detach().clone()
        else:
            self._mean.lerp_(x.detach(), (1 - self._decay) / self._weight)
        return self._mean
