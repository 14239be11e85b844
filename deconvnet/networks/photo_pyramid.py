"""The single-photo network (Schuler et al. 2015): stages of features, PSF and latent image, stacked into scales.

A `Stage` estimates a PSF from the blurry image and, from the second stage on, the latent image that the stage before
made with its PSF. A `Scale` is a few stages at one resolution; the `Pyramid` runs them from coarse to fine.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np

from deconvnet.errors import DeconvnetError
from deconvnet.layers.base import Layer
from deconvnet.networks.photo_stage import Stage
from deconvnet.ops.resample import resample, resample_backward

__all__ = ["Pyramid", "Scale", "scale_config"]

FEATURES = (2, 2, 4)  # pairs of feature images in the first, second and third stage


def scale_config(
    psf_size, stages=3, *, filters=32, filter_size=None, hidden_layers=1, features=None, targets="learned"
):
    """Architecture of one scale, to be changed entry by entry.

    Parameters
    ----------
    psf_size : int
        Side of the PSFs in pixels, odd.
    stages : int
    filters : int
        Filters of each convolution, and units of the hidden layers.
    filter_size : int, optional
        Side of the filters; by default about half of the PSF's: 9 for 17, 13 for 25, 17 for 33.
    hidden_layers : int
        Recombinations with a tanh between the filters and the feature images.
    features : sequence of int, optional
        Pairs of feature images of each stage; 2, from the third stage on 4 if they are learned.
    targets : {"learned", "gradients"}
        What the ỹ_i are: learned as the x̃_i, or the blurry picture's gradients (two pairs).

    Returns
    -------
    dict
        As `Pyramid` takes it.

    Raises
    ------
    DeconvnetError
        If the PSF's side is even or less than 3, or there are not two pairs for the two gradients.
    """
    if psf_size < 3 or psf_size % 2 == 0:
        raise DeconvnetError(f"a PSF of {psf_size} pixels has no centre: use an odd size of at least 3")
    if features is None:
        features = [2 if targets == "gradients" else FEATURES[min(i, len(FEATURES) - 1)] for i in range(stages)]
    if targets == "gradients" and set(features) != {2}:
        raise DeconvnetError("a picture has two gradients, so every stage has two pairs: leave --features away")
    return {
        "psf_size": psf_size,
        "stages": stages,
        "filters": filters,
        "filter_size": (psf_size // 2) | 1 if filter_size is None else filter_size,
        "hidden_layers": hidden_layers,
        "features": list(features),
        "targets": targets,
    }


class _ScaleCache(NamedTuple):
    stages: list
    images: list  # caches of the image estimations; one less than stages unless the last latent was wanted


class Scale(Layer):
    """Stages at one resolution.

    Parameters
    ----------
    config : dict
        As of `scale_config`.
    latent : bool
        Whether the first stage gets a latent image, from a coarser scale.
    rng : numpy.random.Generator
    dtype : numpy dtype
    """

    def __init__(self, config, *, latent, rng, dtype=np.float32):
        self.psf_size = config["psf_size"]
        self.stages = [
            Stage(
                self.psf_size,
                latent=latent or i > 0,
                filters=config["filters"],
                filter_size=config["filter_size"],
                hidden_layers=config["hidden_layers"],
                pairs=config["features"][i],
                targets=config.get("targets", "learned"),
                rng=rng,
                dtype=dtype,
            )
            for i in range(config["stages"])
        ]

    def forward(self, y, latent=None, *, depth=None, need_latent=True, train=False):
        """PSFs after every stage, and the last latent image.

        Parameters
        ----------
        y : array (B, H, W)
            Blurry images without their mean.
        latent : array (B, H, W), optional
            Latent images from a coarser scale.
        depth : int, optional
            Run only the first stages.
        need_latent : bool
            Whether the latent image of the last stage is wanted.

        Returns
        -------
        psfs : list of array (B, k, k)
        latent : array (B, H, W) or None
        cache : tuple or None
        """
        stages = self.stages[:depth]
        psfs, stage_caches, image_caches = [], [], []
        spectrum = None
        for i, stage in enumerate(stages):
            psf, cache = stage.forward(y, latent, train=train)
            psfs.append(psf)
            stage_caches.append(cache)
            if i + 1 < len(stages) or need_latent:
                if spectrum is None:
                    spectrum = stage.image.spectrum(y, train=train)
                latent, cache = stage.image.forward(y, psf, spectrum=spectrum, train=train)
                image_caches.append(cache)
        return psfs, (latent if need_latent else None), (_ScaleCache(stage_caches, image_caches) if train else None)

    def backward(self, dpsfs, dlatent, cache, *, first=0, need_dlatent=True):
        """Accumulate the gradients of the stages from ``first`` on.

        Parameters
        ----------
        dpsfs : list of array (B, k, k)
            Gradient of each PSF.
        dlatent : array (B, H, W) or None
            Gradient of the latent image that came out.
        cache : tuple
        first : int
            Stages before this one are constant: they get no gradient.
        need_dlatent : bool
            Whether the gradient of the latent image that came in is wanted; it is returned.
        """
        for i in range(len(cache.stages) - 1, first - 1, -1):
            stage, dpsf = self.stages[i], dpsfs[i]
            if dlatent is not None:
                _, dthrough = stage.image.backward(dlatent, cache.images[i], need_dy=False)
                dpsf = dpsf + dthrough
            dlatent = stage.backward(dpsf, cache.stages[i], need_dlatent=i > first or need_dlatent)
        return dlatent


class Pyramid(Layer):
    """PSF of a single blurry photograph, from coarse to fine.

    Parameters
    ----------
    scales : sequence of dict
        Architecture of each scale with its ``psf_size``, coarse to fine; see `scale_config`. A single one is the
        plain network.
    rng : numpy.random.Generator
    dtype : numpy dtype

    Raises
    ------
    DeconvnetError
        If the PSF sizes do not grow.

    Notes
    -----
    Schuler et al. 2015, Sec. 3.2: the coarser scale sees the blurry image shrunk by the ratio of the PSF sizes, and
    its latent image, enlarged again, comes in beside the blurry image at the next scale. The mean of the image is
    taken off first, for it says nothing of the blur.

    Stages are counted through all scales, coarse to fine: `stage_names` lists them. ``active`` is the number of those
    that are run: training adds them one by one, and the number is saved with the weights.
    """

    kind = "photo"
    name = "pyramid"
    buffer_names = ("active",)

    def __init__(self, *, scales, rng=None, dtype=np.float32):
        rng = np.random.default_rng(0) if rng is None else rng
        self.config = {"scales": [dict(scale) for scale in scales]}
        self.psf_sizes = [scale["psf_size"] for scale in scales]
        if any(a >= b for a, b in zip(self.psf_sizes, self.psf_sizes[1:])):
            raise DeconvnetError(f"the PSF sizes {self.psf_sizes} do not grow: give the coarsest scale first")
        self.scales = [Scale(c, latent=i > 0, rng=rng, dtype=dtype) for i, c in enumerate(scales)]
        self.stage_names = [
            f"{scale.psf_size} px, stage {i + 1}" for scale in self.scales for i in range(len(scale.stages))
        ]
        self.active = np.array(len(self.stage_names), dtype=dtype)

    @property
    def psf_size(self):
        """Side of the PSFs of the finest scale."""
        return self.psf_sizes[-1]

    @property
    def depth(self):
        """Number of stages that are run, of all scales together."""
        return int(self.active)

    def all_stages(self):
        """Every stage, coarse to fine, whether it is run or not."""
        return [stage for scale in self.scales for stage in scale.stages]

    def trained_sizes(self):
        """PSF sizes, coarse to fine, of the scales of which at least one stage is run."""
        return [size for size, depth in zip(self.psf_sizes, self._depths()) if depth]

    def up_to(self, psf_size):
        """The part of the pyramid up to the scale of one PSF size, which sees the photo at full resolution.

        Parameters
        ----------
        psf_size : int
            One of ``psf_sizes``.

        Returns
        -------
        Pyramid
            Shares its weights with the whole.
        """
        count = self.psf_sizes.index(psf_size) + 1
        part = copy.copy(self)
        part.config = {**self.config, "scales": self.config["scales"][:count]}
        part.psf_sizes, part.scales = self.psf_sizes[:count], self.scales[:count]
        part.stage_names = self.stage_names[: sum(len(scale.stages) for scale in part.scales)]
        part.active = self.active.copy()
        part.active[...] = min(self.depth, len(part.stage_names))
        return part

    def grow(self, depth):
        """Run the first ``depth`` stages; each one that was not run before starts from its predecessor's weights."""
        stages = self.all_stages()
        for i in range(max(1, self.depth), depth):
            stages[i].start_from(stages[i - 1])
        self.active[...] = depth

    def smallest_image(self):
        """Shortest side, in pixels, of an image that the network can work on: twice the largest PSF."""
        return 2 * self.psf_size

    def stage_prefixes(self):
        """Beginnings of the names of each stage's parameters, in the order of the stages."""
        return [f"scales.{i}.stages.{j}." for i, scale in enumerate(self.scales) for j in range(len(scale.stages))]

    def _depths(self):
        """How many stages of each scale are run."""
        left = self.depth
        shares = []
        for scale in self.scales:
            shares.append(min(left, len(scale.stages)))
            left -= shares[-1]
        return shares

    def _shapes(self, shape):
        """Size of the image at every scale."""
        ratios = [size / self.psf_size for size in self.psf_sizes]
        return [tuple(round(n * ratio) for n in shape) for ratio in ratios]

    def forward(self, luminance, *, train=False):
        """PSFs after every stage that is run.

        Parameters
        ----------
        luminance : real array (B, H, W)
            Blurry images in [0, 1].

        Returns
        -------
        psfs : list of array (B, k, k)
            In the order of `stage_names`; the coarser scales' are smaller. The last one is the estimate.
        cache : tuple or None

        Raises
        ------
        DeconvnetError
            If the image is smaller than twice the PSF.
        """
        height, width = luminance.shape[-2:]
        if min(height, width) < self.smallest_image():
            raise DeconvnetError(
                f"an image of {height}×{width} pixels is too small for PSFs of {self.psf_size}: it needs "
                f"{self.smallest_image()} on its shorter side, use a larger image or a smaller PSF size"
            )
        y = luminance - luminance.mean(axis=(-2, -1), keepdims=True)
        depths, shapes = self._depths(), self._shapes((height, width))
        psfs, caches, latent = [], [], None
        for i, scale in enumerate(self.scales):
            finest = i == len(self.scales) - 1
            here = y if finest else resample(y, shapes[i])
            if latent is not None:
                latent = resample(latent, shapes[i])
            found, latent, cache = scale.forward(here, latent, depth=depths[i], need_latent=not finest, train=train)
            psfs += found
            caches.append(cache)
        return psfs, ((caches, shapes) if train else None)

    def backward(self, dpsfs, cache, *, first=0):
        """Accumulate the gradients of all stages from ``first`` on; the image itself gets none.

        Parameters
        ----------
        dpsfs : list of array (B, k, k)
            Gradient of each PSF that `forward` returned.
        cache : tuple
        first : int
            Stages before this one, counted through all scales, are constant and get no gradient.
        """
        caches, shapes = cache
        end, dlatent = len(dpsfs), None
        for i in range(len(self.scales) - 1, -1, -1):
            start = end - len(caches[i].stages)
            if end <= first:
                break
            if dlatent is not None:
                dlatent = resample_backward(dlatent, shapes[i])
            dlatent = self.scales[i].backward(
                dpsfs[start:end], dlatent, caches[i], first=max(0, first - start), need_dlatent=first < start
            )
            end = start

    def estimate_psf(self, luminance):
        """PSFs after every stage of every scale.

        Parameters
        ----------
        luminance : real array (B, H, W)
            Blurry images of any size from `smallest_image` on, in [0, 1].

        Returns
        -------
        list of list of array (B, k, k)
            One list per scale, coarse to fine, one array per stage; ``[-1][-1]`` is the estimate.
        """
        flat, _ = self.forward(luminance)
        found = []
        for depth in self._depths():
            found.append(flat[:depth])
            flat = flat[depth:]
        return found
