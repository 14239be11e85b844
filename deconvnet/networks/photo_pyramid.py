"""The single-photo network (Schuler et al. 2015): stages of features, PSF and latent image, stacked into scales.

A `Stage` estimates a PSF from the blurry image and, from the second stage on, the latent image that the stage before
made with its PSF. A `Scale` is a few stages at one resolution; the `Pyramid` runs them from coarse to fine. There is
one walk over its stages, `Pyramid.walk`: training, restoring, blur that varies and the pictures of `deconvnet.inspect`
all use it.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from deconvnet.backend import Array
from deconvnet.errors import DeconvnetError
from deconvnet.layers.base import Layer
from deconvnet.networks.photo_stage import Stage
from deconvnet.ops.resample import resample, resample_backward

__all__ = ["Pyramid", "Scale", "StageRun", "scale_config"]

FEATURES = (2, 2, 4)  # pairs of feature images in the first, second and third stage


def scale_config(
    psf_size: int,
    stages: int = 3,
    *,
    filters: int = 32,
    filter_size: int | None = None,
    hidden_layers: int = 1,
    features: Sequence[int] | None = None,
    targets: str = "learned",
) -> dict[str, Any]:
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


class Scale(Layer):
    """Stages at one resolution; `Pyramid.walk` runs them.

    Parameters
    ----------
    config : dict
        As of `scale_config`.
    latent : bool
        Whether the first stage gets a latent image, from a coarser scale.
    rng : numpy.random.Generator
    dtype : numpy dtype
    """

    def __init__(
        self, config: Mapping[str, Any], *, latent: bool, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> None:
        self.psf_size: int = config["psf_size"]
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


class StageRun:
    """One stage at work on one input: what it sees, and what it makes of it, computed when it is asked for.

    Parameters
    ----------
    name : str
        As in ``Pyramid.stage_names``.
    stage : Stage
    blurry : float array (B, H, W)
        Blurry images at the resolution of the stage's scale, without their mean.
    latent_in : float array (B, H, W) or None
        Latent images that it sees beside them, without mean too; None for the very first stage.
    spectrum : callable
        Gives what ``stage.image`` needs of the blurry images; one for all stages of a scale.
    finest, last : bool
        Whether the stage belongs to the finest scale, and whether none comes after it.
    train : bool
        Keep what `backward` needs.
    """

    def __init__(
        self,
        name: str,
        stage: Stage,
        blurry: Array,
        latent_in: Array | None,
        spectrum: Callable[[], tuple[Array, tuple[int, int]]],
        *,
        finest: bool,
        last: bool,
        train: bool,
    ) -> None:
        self.name, self.stage, self.blurry, self.latent_in = name, stage, blurry, latent_in
        self.finest, self.last, self.train = finest, last, train
        self._spectrum = spectrum

    @functools.cached_property
    def maps(self) -> Array:
        """Feature images (B, 2m, h, w), the x̃_i and then the ỹ_i, before their borders fade."""
        return self.stage.feature_maps(self.blurry, self.latent_in)

    @functools.cached_property
    def _estimate(self) -> tuple[Array, Any]:
        return self.stage.forward(self.blurry, self.latent_in, train=self.train)

    @property
    def psf(self) -> Array:
        """PSFs (B, k, k)."""
        return self._estimate[0]

    @functools.cached_property
    def _image(self) -> tuple[Array, Any]:
        return self.stage.image.forward(self.blurry, self.psf, spectrum=self._spectrum(), train=self.train)

    @functools.cached_property
    def latent(self) -> Array:
        """Latent images (B, H, W) for the next stage, without mean; who walks may put others in their place."""
        return self._image[0]

    def backward(self, dpsf: Array, dlatent: Array | None, *, need_dlatent: bool = True) -> Array | None:
        """Accumulate the stage's gradients; returns that of ``latent_in``, None without it or if it is not needed.

        Parameters
        ----------
        dpsf : float array (B, k, k)
        dlatent : float array (B, H, W) or None
            Gradient of `latent`; None where no later stage used it.
        need_dlatent : bool
        """
        if dlatent is not None:
            _, dthrough = self.stage.image.backward(dlatent, self._image[1], need_dy=False)
            dpsf = dpsf + dthrough
        return self.stage.backward(dpsf, self._estimate[1], need_dlatent=need_dlatent)


class Pyramid(Layer):
    """PSF of a single blurry photograph, from coarse to fine.

    Parameters
    ----------
    scales : sequence of dict
        Architecture of each scale with its ``psf_size``, coarse to fine; see `scale_config`. A single one is the
        plain network.
    depth : int, optional
        Number of stages that are run, of all scales together, coarse to fine; all of them by default.
    rng : numpy.random.Generator
    dtype : numpy dtype

    Attributes
    ----------
    psf_sizes : list of int
        Side of the PSFs of every scale, coarse to fine.
    stage_names : list of str
        Of every stage, coarse to fine.
    depth : int

    Raises
    ------
    DeconvnetError
        If the PSF sizes do not grow, or there are not that many stages.

    Notes
    -----
    Schuler et al. 2015, Sec. 3.2: the coarser scale sees the blurry image shrunk by the ratio of the PSF sizes, and
    its latent image, enlarged again, comes in beside the blurry image at the next scale. The mean of the image is
    taken off first, for it says nothing of the blur.

    Stages are counted through all scales, coarse to fine: ``stage_names`` lists them. Training adds them one by one;
    the ``depth`` of a network is saved with its ``config``.
    """

    kind = "photo"
    name = "pyramid"

    def __init__(
        self,
        *,
        scales: Sequence[Mapping[str, Any]],
        depth: int | None = None,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        rng = np.random.default_rng(0) if rng is None else rng
        self._scale_configs = [dict(scale) for scale in scales]
        self.psf_sizes = [scale["psf_size"] for scale in scales]
        if any(a >= b for a, b in zip(self.psf_sizes, self.psf_sizes[1:])):
            raise DeconvnetError(f"the PSF sizes {self.psf_sizes} do not grow: give the coarsest scale first")
        self.scales = [Scale(c, latent=i > 0, rng=rng, dtype=dtype) for i, c in enumerate(scales)]
        self.stage_names = [
            f"{scale.psf_size} px, stage {i + 1}" for scale in self.scales for i in range(len(scale.stages))
        ]
        self.depth = len(self.stage_names) if depth is None else depth
        if not 1 <= self.depth <= len(self.stage_names):
            raise DeconvnetError(f"a network of {len(self.stage_names)} stages cannot run {depth} of them")

    @property
    def config(self) -> dict[str, Any]:
        """Keyword arguments that rebuild the network."""
        return {"scales": self._scale_configs, "depth": self.depth}

    @property
    def psf_size(self) -> int:
        """Side of the PSFs of the finest scale."""
        return self.psf_sizes[-1]

    def all_stages(self) -> list[Stage]:
        """Every stage, coarse to fine, whether it is run or not."""
        return [stage for scale in self.scales for stage in scale.stages]

    def trained_sizes(self) -> list[int]:
        """PSF sizes, coarse to fine, of the scales of which at least one stage is run."""
        return [size for size, depth in zip(self.psf_sizes, self._depths()) if depth]

    def up_to(self, psf_size: int) -> Pyramid:
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
        part._scale_configs = self._scale_configs[:count]
        part.psf_sizes, part.scales = self.psf_sizes[:count], self.scales[:count]
        part.stage_names = self.stage_names[: sum(len(scale.stages) for scale in part.scales)]
        part.depth = min(self.depth, len(part.stage_names))
        return part

    def grow(self, depth: int) -> None:
        """Run the first ``depth`` stages; each one that was not run before starts from its predecessor's weights."""
        stages = self.all_stages()
        for i in range(max(1, self.depth), depth):
            stages[i].start_from(stages[i - 1])
        self.depth = depth

    def smallest_image(self) -> int:
        """Shortest side, in pixels, of an image that the network can work on: twice the largest PSF."""
        return 2 * self.psf_size

    def stage_prefixes(self) -> list[str]:
        """Beginnings of the names of each stage's parameters, in the order of the stages."""
        return [f"scales.{i}.stages.{j}." for i, scale in enumerate(self.scales) for j in range(len(scale.stages))]

    def _depths(self) -> list[int]:
        """How many stages of each scale are run."""
        left = self.depth
        shares = []
        for scale in self.scales:
            shares.append(min(left, len(scale.stages)))
            left -= shares[-1]
        return shares

    def _shapes(self, shape: tuple[int, int]) -> list[tuple[int, int]]:
        """Size of the image at every scale."""
        ratios = [size / self.psf_size for size in self.psf_sizes]
        return [(round(shape[0] * ratio), round(shape[1] * ratio)) for ratio in ratios]

    def walk(self, luminance: Array, *, train: bool = False) -> Iterator[StageRun]:
        """The stages that are run, coarse to fine, each at work on what it sees.

        Parameters
        ----------
        luminance : float array (B, H, W)
            Blurry images in [0, 1].
        train : bool
            Keep what `backward` needs.

        Yields
        ------
        StageRun
            Nothing of it is computed before it is asked for; its ``latent`` goes into the next stage when the walk
            goes on.

        Raises
        ------
        DeconvnetError
            If the images are smaller than twice the PSF.
        """
        height, width = luminance.shape[-2:]
        if min(height, width) < self.smallest_image():
            raise DeconvnetError(
                f"an image of {width}×{height} pixels is too small for PSFs of {self.psf_size}: it needs "
                f"{self.smallest_image()} on its shorter side, use a larger image or a smaller PSF size"
            )
        y = luminance - luminance.mean(axis=(-2, -1), keepdims=True)
        names = iter(self.stage_names[: self.depth])
        run = None
        for i, (scale, shape, depth) in enumerate(zip(self.scales, self._shapes((height, width)), self._depths())):
            finest = i == len(self.scales) - 1
            here = y if finest else resample(y, shape)
            # Looked up only where a latent image is wanted, and once for all stages of a scale.
            spectrum = functools.cache(functools.partial(scale.stages[0].image.spectrum, here, train=train))
            for j, stage in enumerate(scale.stages[:depth]):
                latent = None if run is None else run.latent if j else resample(run.latent, shape)
                last = finest and j == depth - 1
                run = StageRun(next(names), stage, here, latent, spectrum, finest=finest, last=last, train=train)
                yield run

    def forward(self, luminance: Array, *, train: bool = False) -> tuple[list[Array], list[StageRun] | None]:
        """PSFs after every stage that is run.

        Parameters
        ----------
        luminance : float array (B, H, W)
            Blurry images in [0, 1].
        train : bool
            Keep what `backward` needs.

        Returns
        -------
        psfs : list of float array (B, k, k)
            In the order of ``stage_names``; the coarser scales' are smaller. The last one is the estimate.
        cache : list of StageRun, or None

        Raises
        ------
        DeconvnetError
            If the images are smaller than twice the PSF.
        """
        psfs, runs = [], []
        for run in self.walk(luminance, train=train):
            psfs.append(run.psf)
            if train:
                runs.append(run)
        return psfs, (runs if train else None)

    def backward(self, dpsfs: Sequence[Array], cache: list[StageRun], *, first: int = 0) -> None:
        """Accumulate the gradients of all stages from ``first`` on; the images themselves get none.

        Parameters
        ----------
        dpsfs : list of float array (B, k, k)
            Gradient of each PSF that `forward` returned.
        cache : list of StageRun
        first : int
            Stages before this one, counted through all scales, are constant and get no gradient.
        """
        dlatent = None
        for i in range(len(cache) - 1, first - 1, -1):
            run = cache[i]
            if dlatent is not None and cache[i + 1].stage.psf_size != run.stage.psf_size:
                dlatent = resample_backward(dlatent, run.blurry.shape[-2:])
            dlatent = run.backward(dpsfs[i], dlatent, need_dlatent=i > first)

    def estimate_psf(self, luminance: Array) -> list[list[Array]]:
        """PSFs after every stage of every scale.

        Parameters
        ----------
        luminance : float array (B, H, W)
            Blurry images of any size from `smallest_image` on, in [0, 1].

        Returns
        -------
        list of list of float array (B, k, k)
            One list per scale, coarse to fine, one array per stage; ``[-1][-1]`` is the estimate.
        """
        flat, _ = self.forward(luminance)
        found = []
        for depth in self._depths():
            found.append(flat[:depth])
            flat = flat[depth:]
        return found
