"""Per-coefficient networks across a burst (Wieschollek et al. 2016, Sec. 3.1 a,
doi:10.1007/978-3-319-54190-7_3): frames exchange what they know.

The N values that the frames have at one coefficient form a vector; a small dense network maps it to N new values, with
the same weights at every coefficient: 1×1 convolutions whose channels are the frames. The values are real: the real
and the imaginary part of a DFT coefficient count as two coefficients that are treated alike; the paper does not say.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from deconvnet.backend import Array, array_module
from deconvnet.errors import DeconvnetError
from deconvnet.kernels.burst.coefficient_net import coefficient_net
from deconvnet.layers.base import Layer, Parameter
from deconvnet.layers.dense import Dense
from deconvnet.layers.relu import relu, relu_backward

__all__ = ["CoefficientNet", "frame_pools", "frame_pools_backward"]


def frame_pools(x: Array) -> Array:
    """What one frame may know of a burst without an order of the frames: its own value, their mean, their maximum.

    Parameters
    ----------
    x : real array (B, N, K)
        K coefficients of N frames.

    Returns
    -------
    real array (B, N, K, 3)
        ``[x_i, mean_j x_j, max_j x_j]`` on the last axis.

    Notes
    -----
    Backward: the mean spreads its gradient evenly over the frames, the maximum hands its own to the frame that attains
    it, in equal shares where several do.

    Examples
    --------
    >>> import numpy as np
    >>> frame_pools(np.array([[[1.0], [5.0]]])).tolist()
    [[[[1.0, 3.0, 5.0]], [[5.0, 3.0, 5.0]]]]
    """
    xp = array_module(x)
    features = xp.empty((*x.shape, 3), dtype=x.dtype)
    features[..., 0] = x
    features[..., 1] = x.mean(axis=1, keepdims=True)
    features[..., 2] = x.max(axis=1, keepdims=True)
    return features


def frame_pools_backward(dfeatures: Array, x: Array) -> Array:
    """Gradient (B, N, K) of the input of `frame_pools`."""
    dpools = dfeatures[..., 1:].sum(axis=1, keepdims=True)  # (B, 1, K, 2)
    largest = (x == x.max(axis=1, keepdims=True)).astype(x.dtype)
    dx = dfeatures[..., 0] + dpools[..., 0] / x.shape[1]
    dx += largest * (dpools[..., 1] / largest.sum(axis=1, keepdims=True))
    return dx


class CoefficientNet(Layer):
    """Small dense network across the frames at each coefficient, the same weights everywhere.

    Parameters
    ----------
    frames : int or None
        A number N: the vector of the N values passes through ``N → hidden → N``; the burst must have N frames, and
        their order matters. None: every frame passes its `frame_pools` through ``3 → hidden → 1``; any number of
        frames, and a permutation of the frames permutes the output.
    hidden : int
        Units between the two layers, with ReLU.
    rng : numpy.random.Generator
    residual : bool
        Add the input to the output. The last layer starts at zero, so that the whole starts as the identity
        (residual) or as zero.
    dtype : numpy dtype

    Notes
    -----
    The last layer has no bias: the hidden units have theirs, and as logits of a softmax over the frames (see
    `deconvnet.layers.fba.LearnableFBA`) a value common to all frames would change nothing.
    """

    def __init__(
        self,
        frames: int | None,
        hidden: int,
        rng: np.random.Generator,
        *,
        residual: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.frames, self.residual = frames, residual
        self.first = Dense(3 if frames is None else frames, hidden, rng, dtype=dtype)
        self.last = Parameter(np.zeros((hidden, 1 if frames is None else frames), dtype=dtype))

    def forward(self, x: Array, *, train: bool = False) -> tuple[Array, tuple | None]:
        """New values (B, N, K) from the values ``x`` (B, N, K) of N frames at K coefficients.

        Raises
        ------
        DeconvnetError
            If the network has a fixed number of frames and the burst another one.
        """
        if self.frames is not None and x.shape[1] != self.frames:
            raise DeconvnetError(f"this network wants exactly {self.frames} frames and got {x.shape[1]}")
        if self.frames is None and not train:
            weight, bias = self.first.weight.value, self.first.bias.value
            return coefficient_net(x, weight, bias, self.last.value[:, 0], self.residual), None
        features = frame_pools(x) if self.frames is None else array_module(x).ascontiguousarray(x.swapaxes(1, 2))
        before, _ = self.first.forward(features)
        hidden = relu(before).reshape(-1, before.shape[-1])
        out = (hidden @ self.last.value).reshape(*before.shape[:-1], -1)
        out = out[..., 0] if self.frames is None else out.swapaxes(1, 2)
        if self.residual:
            out = x + out
        return out, ((x, features, hidden) if train else None)

    def backward(self, dout: Array, cache: tuple, *, need_dx: bool = True) -> Array:
        """Gradient (B, N, K) of the input; None unless needed."""
        x, features, hidden = cache
        dlast = dout if self.frames is None else dout.swapaxes(1, 2)
        dlast = dlast.reshape(hidden.shape[0], -1)
        self.last.grad += hidden.T @ dlast
        dhidden = relu_backward(dlast @ self.last.value.T, hidden).reshape(*features.shape[:-1], -1)
        dfeatures = self.first.backward(dhidden, features, need_dx=need_dx)
        if not need_dx:
            return None
        dx = frame_pools_backward(dfeatures, x) if self.frames is None else dfeatures.swapaxes(1, 2)
        return dout + dx if self.residual else dx
