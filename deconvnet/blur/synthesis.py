"""Training bursts: sharp crops of photographs, blurred, exposed and compressed the way a camera does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from deconvnet.backend import Array, array_module, resolve_device, to_device
from deconvnet.blur.camera import noise_coefficients, srgb_to_linear
from deconvnet.blur.crops import CropCutter
from deconvnet.blur.photographs import Photographs
from deconvnet.blur.psf import Shake, sample_gp_psfs, sample_recorded_psfs
from deconvnet.kernels.synthesis.burst_synthesis import burst_synthesis
from deconvnet.kernels.synthesis.counter_random import draw_keys

__all__ = ["BurstSettings", "BurstSynthesizer", "Bursts"]


@dataclass(frozen=True)
class BurstSettings:
    """What happens to a training burst; every realism is an option of its own.

    Pairs are ranges from which a value is drawn uniformly, except where it says otherwise.

    Parameters
    ----------
    psf_size : int
        Side of the PSF grid in pixels.
    crop : int
        Side of the frames.
    supports : tuple of float, optional
        Supports of the shake in pixels, one drawn per burst with equal odds. None draws any size from 1 to `psf_size`.
    support_power : float
        Without `supports`: support = 1 + (psf_size − 1)·u^support_power, u uniform; above 1 favours small ones.
    strength : pair of float
        Factor on each frame's shake (support − 1).
    sharp_frame : float
        Probability that a frame has no shake at all.
    sharp_burst : float
        Probability that no frame of the burst has any; its shifts are those of `sharp_shift`, and it is not rotated.
    recorded : float
        Share of the bursts whose shake is recorded, if there are recordings.
    linear : bool
        Blur, expose and add noise in linear light: undo the sRGB curve first, apply it in the end.
    clip : bool
        Clip to [0, 1], frames and truth.
    exposure : pair of float
        Factor on the brightness of a burst (drawn uniformly in its logarithm); above 1 highlights are clipped.
    exposed : float
        Share of the bursts that get such a factor.
    gain : float
        Factor of each frame, within ± this of 1.
    noise : pair of float
        Standard deviation at middle grey in stored values, one per burst (drawn uniformly in its logarithm).
    read_share : pair of float
        Share of the noise's variance at middle grey that does not depend on the signal, one per burst.
    grain : pair of float
        Weight of the neighbours' noise in each pixel's, one per burst, which makes it as coarse as demosaicing and a
        camera's own denoising do; 0 is white, 0.5 as after binomial smoothing.
    jpeg : float
        Share of the bursts that are compressed.
    quality : pair of int
        JPEG quality, one per burst.
    shift : float
        Registration left-over of each frame, within ± this many pixels down and right.
    sharp_shift : float
        The same for bursts without shake.
    rotation : float
        Registration left-over of each frame, within ± this many degrees.
    scales : tuple of float
        Sizes at which photographs are used, 1/k with whole k (averages of k×k pixels, which are sharper), equal odds.
    """

    psf_size: int = 25
    crop: int = 129
    supports: tuple[float, ...] | None = (17, 7)
    support_power: float = 1.0
    strength: tuple[float, float] = (1.0, 1.0)
    sharp_frame: float = 0.0
    sharp_burst: float = 0.0
    recorded: float = 0.0
    linear: bool = False
    clip: bool = False
    exposure: tuple[float, float] = (1.0, 1.0)
    exposed: float = 0.0
    gain: float = 0.0
    noise: tuple[float, float] = (0.01, 0.01)
    read_share: tuple[float, float] = (1.0, 1.0)
    grain: tuple[float, float] = (0.0, 0.0)
    jpeg: float = 0.0
    quality: tuple[int, int] = (70, 98)
    shift: float = 0.0
    sharp_shift: float = 0.0
    rotation: float = 0.0
    scales: tuple[float, ...] = (1.0,)

    @classmethod
    def plain(cls, psf_size: int = 25, crop: int = 129, noise: float = 0.01) -> BurstSettings:
        """The papers' setting: blur of 17 and 7 px on the stored values plus Gaussian noise, nothing else.

        Parameters
        ----------
        psf_size, crop : int
        noise : float
            Standard deviation; may be 0.

        Returns
        -------
        BurstSettings

        Notes
        -----
        Wieschollek et al. 2016 (doi:10.48550/arXiv.1607.04433), Sec. 3.2. Supports larger than `psf_size` are left out.
        """
        supports = tuple(s for s in (17, 7) if s <= psf_size) or (psf_size,)
        return cls(psf_size=psf_size, crop=crop, supports=supports, noise=(noise, noise))

    @classmethod
    def camera(cls, psf_size: int = 25, crop: int = 129) -> BurstSettings:
        """What cameras do: shake of every strength down to none, mild shake most often, and all that happens after it.

        Parameters
        ----------
        psf_size, crop : int

        Returns
        -------
        BurstSettings
        """
        return cls(
            psf_size=psf_size,
            crop=crop,
            supports=None,
            support_power=2.0,
            strength=(0.3, 1.0),
            sharp_frame=0.05,
            sharp_burst=0.08,
            recorded=0.4,
            linear=True,
            clip=True,
            exposure=(0.6, 2.0),
            exposed=0.4,
            gain=0.02,
            noise=(0.002, 0.02),
            read_share=(0.0, 0.1),
            grain=(0.0, 0.5),
            jpeg=0.5,
            shift=0.5,
            sharp_shift=0.05,
            rotation=0.15,
            scales=(1.0, 0.5),
        )

    @property
    def margin(self) -> int:
        """Pixels by which the sharp crop is larger than the frames."""
        return self.psf_size - 1 + (2 if self.rotation else 0)


class Bursts(NamedTuple):
    """A batch of training bursts.

    Attributes
    ----------
    frames : float32 array (B, N, crop, crop)
        Stored (sRGB) values, noisy; outside [0, 1] only without clipping.
    sharp : float32 array (B, crop, crop)
        The truth at the same position: exposed and clipped like the frames, without blur, noise or gain.
    psfs : float32 array (B, N, psf_size, psf_size)
        What each frame was convolved with, registration shift included; centre at ``psf_size // 2``.
    """

    frames: np.ndarray
    sharp: np.ndarray
    psfs: np.ndarray


class BurstSynthesizer:
    """Makes training bursts without end.

    Parameters
    ----------
    photographs : Photographs, or sequence of uint8 array (H, W)
        Luminance; see `deconvnet.blur.photographs.load_photographs`. Those smaller than a crop are not used.
    settings : BurstSettings
    shake : Shake, optional
        Recorded shake from `deconvnet.blur.psf.load_shake`.

    Attributes
    ----------
    settings : BurstSettings
    side : int
        Side in pixels of the sharp crops that are cut out.

    Raises
    ------
    DeconvnetError
        If no photograph is large enough.
    ValueError
        If a scale is not 1/k.
    """

    def __init__(
        self, photographs: Photographs | Sequence[np.ndarray], settings: BurstSettings, shake: Shake | None = None
    ) -> None:
        self.settings = settings
        self.side = settings.crop + settings.margin
        self._shake = shake
        images = list(photographs.images if isinstance(photographs, Photographs) else photographs)
        if any(image.dtype != np.uint8 or image.ndim != 2 for image in images):
            raise ValueError("photographs must be uint8 luminance images (H, W)")
        levels = np.arange(256, dtype=np.float32) / 255
        table = srgb_to_linear(levels.astype(np.float64)).astype(np.float32) if settings.linear else levels
        self._cutter = CropCutter(images, settings.scales, self.side, table)

    def crops(self, rng: np.random.Generator, batch: int, *, device: str = "cpu") -> Array:
        """Random sharp crops that have something to see in them.

        Parameters
        ----------
        rng : numpy.random.Generator
        batch : int
            B.
        device : {"cpu", "cuda"}
            Where crops are cut and stay.

        Returns
        -------
        float32 array (B, side, side)
            In [0, 1]; linear light if the settings say so. See `deconvnet.blur.crops.CropCutter`.
        """
        return self._cutter.cut(rng, batch, device=device)

    def psfs(
        self, rng: np.random.Generator, batch: int, frames: int, *, device: str = "cpu"
    ) -> tuple[Array, np.ndarray]:
        """PSFs of a batch of bursts.

        Parameters
        ----------
        rng : numpy.random.Generator
        batch, frames : int
            B, N.
        device : {"cpu", "cuda"}
            Where PSFs are drawn and stay.

        Returns
        -------
        psfs : float32 array (B, N, psf_size, psf_size)
        sharp : bool array (B,)
            Which bursts have no shake at all.
        """
        s = self.settings
        if s.supports is None:
            support = 1 + (s.psf_size - 1) * rng.random(batch) ** s.support_power
        else:
            support = rng.choice(np.asarray(s.supports, float), batch)
        extent = (support - 1)[:, None] * rng.uniform(*s.strength, (batch, frames))
        sharp = rng.random(batch) < s.sharp_burst
        extent[(rng.random((batch, frames)) < s.sharp_frame) | sharp[:, None]] = 0
        shift = rng.uniform(-1, 1, (batch, frames, 2)) * np.where(sharp, s.sharp_shift, s.shift)[:, None, None]
        recorded = np.repeat(rng.random(batch) < (s.recorded if self._shake else 0), frames)

        flat_support, flat_shift = 1 + extent.reshape(-1), shift.reshape(-1, 2)
        parts = []
        for chosen, sample in ((~recorded, sample_gp_psfs), (recorded, self._sample_recorded)):
            if chosen.any():
                index = np.flatnonzero(chosen)
                shifts = flat_shift[index]
                found = sample(rng, len(index), flat_support[index], s.psf_size, shift=shifts, device=device)
                parts.append((to_device(index, device), found))
        psfs = array_module(parts[0][1]).empty((batch * frames, s.psf_size, s.psf_size), dtype=np.float32)
        for index, found in parts:
            psfs[index] = found
        return psfs.reshape(batch, frames, s.psf_size, s.psf_size), sharp

    def _sample_recorded(
        self,
        rng: np.random.Generator,
        count: int,
        support: np.ndarray,
        size: int,
        *,
        shift: np.ndarray,
        device: str,
    ) -> Array:
        assert self._shake is not None  # else no burst is chosen for it
        return sample_recorded_psfs(rng, self._shake, count, support, size, shift=shift, device=device)

    def batch(
        self,
        rng: np.random.Generator,
        batch: int,
        frames: int,
        *,
        device: str = "cpu",
        part: slice = slice(None),
    ) -> Bursts:
        """A batch of bursts.

        Parameters
        ----------
        rng : numpy.random.Generator
            The same state gives the same bits, for any number of threads.
        batch : int
            Bursts, B.
        frames : int
            Frames in each, N.
        device : {"cpu", "cuda", "auto"}
            Where everything is made and stays.
        part : slice
            Which bursts of the batch to make: all random numbers are drawn for the whole one, so that parts made by
            several processes are that batch bit for bit.

        Returns
        -------
        Bursts

        Raises
        ------
        DeconvnetError
            If the device cannot be used.
        """
        s = self.settings
        device = resolve_device(device)
        crops = self.crops(rng, batch, device=device)
        psfs, sharp_burst = self.psfs(rng, batch, frames, device=device)
        keys = draw_keys(rng, (batch, frames))

        exposure = np.exp(rng.uniform(np.log(s.exposure[0]), np.log(s.exposure[1]), batch))
        exposure = np.where(rng.random(batch) < s.exposed, exposure, 1)
        crops *= to_device(exposure[:, None, None].astype(np.float32), device)
        gain = 1 + rng.uniform(-s.gain, s.gain, (batch, frames))
        angle = np.deg2rad(rng.uniform(-s.rotation, s.rotation, (batch, frames))) * ~sharp_burst[:, None]
        low, high = s.noise
        level = low * (high / low) ** rng.random(batch) if low > 0 else np.full(batch, high)
        read, shot = noise_coefficients(level, rng.uniform(*s.read_share, batch), s.linear)
        quality = rng.integers(s.quality[0], s.quality[1], batch, endpoint=True) * (rng.random(batch) < s.jpeg)
        offset = rng.integers(0, 8, (batch, frames, 2))
        grain = rng.uniform(*s.grain, batch)
        crops, psfs, keys = crops[part], psfs[part], keys[part]
        gain, angle, offset = gain[part], angle[part], offset[part]

        def per_frame(values: np.ndarray) -> Array:
            return to_device(np.repeat(values[part, None], frames, axis=1), device)

        rotated = to_device(angle, device) if s.rotation else None
        made = burst_synthesis(
            crops,
            psfs,
            to_device(keys, device),
            gain=to_device(gain, device),
            angle=rotated,
            read=per_frame(read),
            shot=per_frame(shot),
            grain=per_frame(grain) if any(s.grain) else None,
            clip=s.clip,
            srgb=s.linear,
            quality=per_frame(quality) if s.jpeg else None,
            offset=to_device(offset, device),
        )
        # The truth takes the same way with a PSF of one tap and none of the rest.
        still = np.zeros((len(crops), 1, s.psf_size, s.psf_size), np.float32)
        still[:, :, s.psf_size // 2, s.psf_size // 2] = 1
        sharp = burst_synthesis(
            crops,
            to_device(still, device),
            to_device(keys[:, :1], device),
            angle=None if rotated is None else 0 * rotated[:, :1],
            clip=s.clip,
            srgb=s.linear,
        )
        return Bursts(made, sharp[:, 0], psfs)
