"""
Restore your burst
==================

Several shaky pictures of one scene become one sharp picture. The frames here are made from a photograph that
scikit-image carries, so that the truth is known; the last section says what changes for files of yours.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import deconvnet
from deconvnet.blur.camera import linear_to_srgb, srgb_to_linear
from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.metrics import psnr

# %%
# Eight frames, each with a shake of its own that fills 13×13 pixels. A camera sums light, so the blur happens before
# the sRGB curve; noise comes on top.

rng = np.random.default_rng(3)
sharp = data.astronaut()[30:190, 150:330].astype(np.float32) / 255
light = np.moveaxis(srgb_to_linear(sharp), -1, 0)
psfs = sample_gp_psfs(rng, 8, 13)
frames = []
for psf in psfs:
    blurry = linear_to_srgb(convolve(light, psf, "reflect").clip(0, 1))
    noisy = blurry + 0.01 * rng.standard_normal(blurry.shape)
    frames.append(np.moveaxis(noisy.clip(0, 1).astype(np.float32), 0, -1))

figure, axes = plt.subplots(2, 4, figsize=(9, 4.2), layout="constrained")
for ax, frame, psf in zip(axes.flat, frames, psfs):
    ax.imshow(frame)
    inset = ax.inset_axes((0.72, 0.02, 0.26, 0.26 * 180 / 160))
    inset.imshow(psf, cmap="gray")
    for each in (ax, inset):
        each.set(xticks=[], yticks=[])
plt.show()

# %%
# One call restores them: the frames are registered, a network finds the PSF of every frame in every patch, refines
# them, and divides spectra. Fourier burst accumulation, which keeps of every frequency what is strongest in any frame,
# is there to compare with.

picture, found = deconvnet.deblur_burst(frames, return_psfs=True)
accumulated = deconvnet.deblur_burst(frames, method="fba")

# %%
# Registration may crop a few pixels and shift the picture by as many: scores need the same part of the truth.


def score(picture):
    height, width = picture.shape[:2]
    best = 0.0
    for y in range(sharp.shape[0] - height + 1):
        for x in range(sharp.shape[1] - width + 1):
            truth = sharp[y : y + height, x : x + width]
            best = max(best, float(psnr(picture, truth, border=12)))
    return best


shown = {
    "a frame": frames[0],
    "accumulated": accumulated,
    "deblur_burst": picture,
    "truth": sharp,
}
figure, axes = plt.subplots(1, 4, figsize=(11, 2.9), layout="constrained")
for ax, (name, each) in zip(axes, shown.items()):
    ax.imshow(each)
    ax.set(xticks=[], yticks=[], title=name if name == "truth" else f"{name}: {score(each):.1f} dB")
plt.show()

# %%
# The estimated PSFs come on a grid over the picture, one for each frame. Those in the middle, under the true ones:

figure, axes = plt.subplots(2, 8, figsize=(9, 2.5), layout="constrained")
rows, columns = found.shape[:2]
for (above, below), truth, estimate in zip(axes.T, psfs, found[rows // 2, columns // 2]):
    above.imshow(truth, cmap="gray")
    below.imshow(estimate, cmap="gray")
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
axes[0, 0].set_ylabel("true")
axes[1, 0].set_ylabel("found")
plt.show()

# %%
# Files of your own are read and written with their EXIF, colour profile and depth::
#
#     from deconvnet.io import list_pictures, read_image, write_image
#
#     pictures = [read_image(path) for path in list_pictures("shots")]
#     sharp = deconvnet.deblur_burst([picture.pixels for picture in pictures], progress=True)
#     write_image("sharp.png", sharp, pictures[0].bits, pictures[0].metadata)
#
# which is what ``deconvnet burst shots/* -o sharp.png`` does.
