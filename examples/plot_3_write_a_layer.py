"""
Write a layer and check its gradient
====================================

A layer is a pair of pure functions, ``f`` and ``f_backward``, and a thin class over them. There is no autodiff: the
backward is written by hand, and :func:`deconvnet.testing.gradcheck` holds it against differences.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

from deconvnet.backend import array_module
from deconvnet.layers import Layer, Parameter
from deconvnet.testing import gradcheck

# %%
# The pair. Soft thresholding with a smooth corner takes noise away and leaves edges:
# :math:`y = x - t\tanh(x / t)`, so that :math:`\partial y/\partial x = \tanh^2(x / t)` and
# :math:`\partial y/\partial t = (x/t)(1 - \tanh^2(x/t)) - \tanh(x/t)`. Arrays are NumPy's or CuPy's, and the dtype that
# goes in comes out.


def shrink(x, t):
    return x - t * array_module(x).tanh(x / t)


def shrink_backward(dy, x, t):
    ratio = x / t
    tanh = array_module(x).tanh(ratio)
    return dy * tanh**2, (dy * (ratio * (1 - tanh**2) - tanh)).sum()


# %%
# The class owns the parameter. What a call's backward needs goes into the cache that ``forward`` returns, never on
# ``self``; gradients of parameters are *added*.


class Shrink(Layer):
    def __init__(self, t, dtype=np.float32):
        self.t = Parameter(np.array(t, dtype))

    def forward(self, x, *, train=False):
        return shrink(x, self.t.value), (x if train else None)

    def backward(self, dy, x):
        dx, dt = shrink_backward(dy, x, self.t.value)
        self.t.grad += dt
        return dx


# %%
# In float64, along random directions and with a random gradient of the output, input and parameter must agree with
# central differences. What comes back is the largest relative error.

x = np.random.default_rng(0).standard_normal((2, 1, 8, 9))
print(f"largest relative error: {gradcheck(Shrink(0.5, np.float64), x):.1e}")

# %%
# A mistake does not get through, and the message says which gradient it is in:


class Mistaken(Shrink):
    def backward(self, dy, x):
        dx, dt = shrink_backward(dy, x, self.t.value)
        self.t.grad -= dt  # the sign
        return dx


try:
    gradcheck(Mistaken(0.5, np.float64), x)
except AssertionError as error:
    print(error)

# %%
# The layer learns like any other. Here the threshold that takes most noise out of the differences of a photograph is
# found by plain gradient descent.

rng = np.random.default_rng(1)
photo = data.camera()[100:260, 150:310].astype(np.float32) / 255
differences = np.diff(photo, axis=1)
noisy = differences + 0.05 * rng.standard_normal(differences.shape).astype(np.float32)

layer, thresholds, errors = Shrink(0.01), [], []
for _ in range(80):
    layer.zero_grad()
    found, cache = layer.forward(noisy, train=True)
    residual = found - differences
    layer.backward(2 * residual / residual.size, cache)
    thresholds.append(float(layer.t.value))
    errors.append(float((residual**2).mean()))
    layer.t.value -= 0.5 * layer.t.grad

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
wide = np.linspace(-0.3, 0.3, 301)
left.plot(wide, wide, "0.7", wide, shrink(wide, thresholds[0]), "C1--", wide, shrink(wide, thresholds[-1]), "C0")
left.legend(["identity", "before training", "after"])
left.set(xlabel="x", ylabel="y", title=f"shrink, t = {thresholds[-1]:.3f}")
right.plot(errors)
right.axhline(errors[0], color="0.7")
right.set(xlabel="step", title="mean squared error of the differences")
plt.show()
