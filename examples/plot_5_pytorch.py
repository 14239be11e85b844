"""
Through PyTorch
===============

The layers are modules that any PyTorch optimiser trains; their gradients stay the hand-written ones. A tiny network
learns here to see the PSF in blurred random squares, through the quotient layer. (Where these pages are built without
PyTorch, the extra ``torch``, only the code is shown.)
"""

import matplotlib.pyplot as plt
import torch

from deconvnet.interop.torch import EdgeTaper, Features, PsfSupport, Quotient

# %%
# Eight filters of 5×5 pixels make two pairs of feature images; the quotient divides their spectra with a learned
# regulariser; what comes out is cropped to 5×5 pixels, clipped and normalised.

torch.manual_seed(0)
features, taper = Features(1, 8, 5, 1, 4), EdgeTaper(6)
quotient, support = Quotient(1.0, learned=True), PsfSupport(5)
optimiser = torch.optim.Adam([*features.parameters(), *quotient.parameters()], lr=0.01)


def batch(count=8):
    psf = torch.rand(count, 1, 5, 5) ** 4
    psf /= psf.sum(dim=(2, 3), keepdim=True)
    sharp = torch.nn.functional.interpolate(torch.rand(count, 1, 12, 12), size=(52, 52))
    flipped = psf.flip(2, 3)  # PyTorch correlates
    blurry = torch.nn.functional.conv2d(sharp.transpose(0, 1), flipped, groups=count).transpose(0, 1)
    return blurry.contiguous(), psf[:, 0]


def estimate(blurry):
    maps = taper(features(blurry))
    return support(quotient(maps[:, :2], maps[:, 2:]))


losses = []
for _ in range(300):
    blurry, psf = batch()
    loss = ((estimate(blurry) - psf) ** 2).sum(dim=(1, 2)).mean()
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
ax.set(xlabel="step", ylabel="squared error of the PSF")
axes = below.subplots(3, 6)
for column, row in zip(axes.T, zip(blurry[:, 0], psf, found)):
    for ax, picture in zip(column, row):
        ax.imshow(picture, cmap="gray")
        ax.set(xticks=[], yticks=[])
for ax, name in zip(axes[:, 0], ("blurry", "true PSF", "found")):
    ax.set_ylabel(name)
plt.show()
