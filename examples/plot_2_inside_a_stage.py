"""
Look inside a stage
===================

The network for single photographs turns a photo into pairs of images, one as if there were no shake, the other blurred
by it. Their spectra are divided, and the PSF appears. All of that can be looked at.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import deconvnet
from deconvnet.blur.convolve import convolve
from deconvnet.blur.psf import sample_gp_psfs
from deconvnet.inspect.figures import filters_figure, maps_figure, psfs_figure
from deconvnet.inspect.model import stage_maps

# %%
# A photograph that scikit-image carries, with a shake that fills 17×17 pixels.

rng = np.random.default_rng(7)
photo = data.camera()[60:340, 80:400].astype(np.float32) / 255
psf = sample_gp_psfs(rng, 1, 17)[0]
blurry = convolve(photo, psf)
blurry += 0.005 * rng.standard_normal(blurry.shape).astype(np.float32)

network = deconvnet.load_model("photo")
found = stage_maps(network, blurry)


def show(figure):
    """A figure of its own in this page."""
    figure.canvas.draw()
    _, ax = plt.subplots(figsize=figure.get_size_inches() * 0.8, layout="constrained")
    ax.imshow(figure.canvas.buffer_rgba())
    ax.set_axis_off()
    plt.show()


print("stages, coarse to fine:", *(maps.name for maps in found), sep="\n")

# %%
# The filters of the first stage, and what it makes of the photo: the feature images, the PSF that explains the blurred
# ones by the sharp ones, and the latent image that is deconvolved with it. That image is an input of the next stage.

stages = dict(zip(network.stage_names, network.all_stages()))
show(filters_figure(stages[found[0].name], f"filters: {found[0].name}"))

# %%

show(maps_figure(blurry, found[0], found[0].name))

# %%
# The PSF after every stage, and the true one:

show(psfs_figure(found, psf))

# %%
# ``deconvnet inspect photo -o DIR --image shaky.jpg`` draws the same for a photograph of yours.
# :func:`deconvnet.deblur` goes on from here: it refines the PSFs by the photo's edges and takes the one that explains
# the photo best.
