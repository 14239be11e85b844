"""
On a GPU
========

With CuPy (the extra ``cuda12`` or ``cuda13``) and an NVIDIA card everything runs on the card. Which body of a kernel
runs is decided by the arrays; with the engine ``"reference"`` all of them are plain array code.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import deconvnet
from deconvnet.backend import gpu_available, resolve_device, to_device, to_host
from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.layers import Quotient

# %%
# ``device="auto"``, the default of everything that restores, is the card if one answers:

device = resolve_device("auto")
print("a GPU answers:", gpu_available(), "| this page was made on:", device)

# %%
# Layers take what they are given. Arrays go to the device once, stay there, and nothing moves unasked.

photo = data.camera()[:256, :256].astype(np.float32) / 255
psf = sample_gp_psfs(np.random.default_rng(2), 1, 9)[0]
blurry = convolve(photo, psf, "wrap")
x, y = to_device(photo[None, None], device), to_device(blurry[None, None], device)
raw, _ = Quotient(1.0).to(device).forward(x, y)  # the PSF that explains y by x, its centre at the corner
found = np.roll(to_host(raw)[0], (4, 4), axis=(0, 1))[:9, :9]

figure, axes = plt.subplots(1, 3, figsize=(8, 2.8), layout="constrained")
for ax, each, name in zip(axes, (blurry, psf, found), ("blurry", "true PSF", "quotient")):
    ax.imshow(each, cmap="gray")
    ax.set(xticks=[], yticks=[], title=name)
plt.show()

# %%
# Every kernel has three bodies: plain array code that defines it, numba for processors, CUDA for GPUs. The same picture
# by compiled kernels and by plain array code, on this device:

pictures, seconds = {}, {}
for name in ("auto", "reference"):
    with deconvnet.engine(name):
        for _ in range(2):  # the first time compiles
            start = time.perf_counter()
            pictures[name] = deconvnet.deconvolve(blurry, psf, device=device)
            seconds[name] = time.perf_counter() - start
    print(f"{name:10s} {seconds[name]:6.2f} s")
print("largest difference:", float(np.abs(pictures["auto"] - pictures["reference"]).max()))
