"""What the rest of the package asks of a network: by these, not by its class, restoring and training know it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from deconvnet.backend import Array

if TYPE_CHECKING:  # loading a burst network must not load the photo network's kernels
    from deconvnet.networks.photo_pyramid import StageRun

__all__ = ["BurstNetwork", "Network", "PhotoNetwork", "PsfBurstNetwork"]


class Network(Protocol):
    """Any network that can be saved, loaded and moved.

    Attributes
    ----------
    kind : {"burst", "photo"}
    name : str
        By which `deconvnet.networks.io.build_network` knows it.
    config : mapping
        Keyword arguments that rebuild it.
    """

    kind: str
    name: str

    @property
    def config(self) -> Mapping[str, Any]: ...

    def state(self) -> dict[str, Array]:
        """Every array that a file must hold to rebuild it."""

    def to(self, device: str) -> Any:
        """The network itself, moved to ``"cpu"`` or ``"cuda"``."""


class PhotoNetwork(Network, Protocol):
    """A network that estimates the PSF of one photograph."""

    def trained_sizes(self) -> list[int]:
        """PSF sizes that it can estimate, ascending."""

    def up_to(self, psf_size: int) -> PhotoNetwork:
        """The network for one of these sizes; shares its weights with the whole."""

    def estimate_psf(self, luminance: Array) -> list[list[Array]]:
        """PSFs (B, k, k) of blurry images (B, H, W) in [0, 1], by scale and stage; the last one is the estimate."""

    def walk(self, luminance: Array) -> Iterator[StageRun]:
        """The stages, coarse to fine, each at work on what it sees."""


class BurstNetwork(Network, Protocol):
    """A network that restores the middle of a burst of patches.

    Attributes
    ----------
    surround : int
        Side, in pixels, of what it sees around a patch.
    patch : int
        Side of the patch that it deconvolves.
    centre : int
        Side of the sharp middle that comes out.
    """

    surround: int
    patch: int
    centre: int

    def fit(self, frames: Array) -> None:
        """Set fixed normalisations from training bursts (B, N, surround, surround)."""

    def forward(self, frames: Array, *, train: bool = False) -> tuple[Array, Any]:
        """Sharp centres (B, centre, centre) of bursts (B, N, surround, surround) in [0, 1], and what backward needs."""

    def backward(self, dprediction: Array, cache: Any) -> Any:
        """Add the gradients of all parameters."""


@runtime_checkable
class PsfBurstNetwork(Protocol):
    """What a burst network has besides if it goes by the frames' PSFs; the others restore patches without any."""

    def estimate_psfs(self, surrounds: Array) -> tuple[Array, Array, Any]:
        """PSFs (B, N, k, k) of bursts (B, N, surround, surround), adaptation of the regulariser, and a cache."""

    def deconvolve(self, patches: Array, psfs: Array, adaptation: Array) -> Array:
        """Sharp centres (B, centre, centre) of bursts (B, N, patch, patch) with known PSFs."""
