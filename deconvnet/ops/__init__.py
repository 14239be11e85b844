"""Operations without parameters, each with its adjoint: what layers, restoring and the forward model are made of.

=============  =======================================================================================
`psf`          PSF <-> OTF: the transform of a small PSF, whose centre is the origin, on a larger grid
`edge_taper`   the borders of an image fade to zero
`border`       images continued to a size with fast transforms, smooth when repeated
`resample`     images on a coarser or finer grid that covers the same area
`differences`  differences between neighbouring pixels, and their spectrum
`window`       Hann, Bartlett-Hann and Tukey windows
=============  =======================================================================================

An adjoint of ``f`` is called ``f_backward`` where layers use it as the gradient, else ``f_adjoint``. Nothing here
imports a layer.
"""
