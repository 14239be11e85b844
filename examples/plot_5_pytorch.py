"""
Through PyTorch
===============

The layers are modules that any PyTorch optimiser trains; their gradients stay the hand-written ones. A tiny network
learns here to see the shake in blurred random squares, through the quotient layer. (Where these pages are built without
PyTorch, the extra ``torch``, only the code is shown.)
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.interop.torch import EdgeTaper, Features, PsfSupport, Quotient

# %%
# Eight filters of 5×5 pixels make two pairs of feature images; the quotient divides their spectra with a learned
# regulariser; what comes out is cropped to 7×7 pixels, clipped and normalised.

torch.manual_seed(0)
rng = np.random.default_rng(0)
features, taper = Features(1, 8, 5, 1, 4), EdgeTaper(6)
quotient, support = Quotient(1.0, learned=True), PsfSupport(7)
optimiser = torch.optim.Adam([*features.parameters(), *quotient.parameters()], lr=0.01)


def batch(count=8):
    psf = torch.from_numpy(sample_gp_psfs(rng, count, 7))[:, None]
    squares = torch.rand(count, 1, 17, 17)
    sharp = torch.nn.functional.interpolate(squares, scale_factor=4)[:, :, :66, :66]
    one_by_one = sharp.transpose(0, 1), psf.flip(2, 3)  # PyTorch correlates
    blurry = torch.nn.functional.conv2d(*one_by_one, groups=count).transpose(0, 1)
    return blurry.contiguous(), psf[:, 0]


def estimate(blurry):
    maps = taper(features(blurry))
    return support(quotient(maps[:, :2], maps[:, 2:]))


losses = []
for _ in range(300):
    blurry, psf = batch()
    loss = ((estimate(blurry) - psf) ** 2).sum() / (psf**2).sum()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    losses.append(loss.item())

# %%
# The error as it fell, and PSFs of pictures it has not seen.

blurry, psf = batch(6)
with torch.no_grad():
    found = estimate(blurry)
figure = plt.figure(figsize=(9, 5), layout="constrained")
curve, below = figure.subfigures(2, 1, height_ratios=(1, 1.2))
ax = curve.subplots()
ax.semilogy(losses)
ax.set(xlabel="step", ylabel="relative squared error")
axes = below.subplots(3, 6)
for column, row in zip(axes.T, zip(blurry[:, 0], psf, found)):
    for ax, picture in zip(column, row):
        ax.imshow(picture, cmap="gray")
        ax.set(xticks=[], yticks=[])
for ax, name in zip(axes[:, 0], ("blurry", "true PSF", "found")):
    ax.set_ylabel(name)
plt.show()
