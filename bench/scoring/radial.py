"""How strong a picture's frequencies are, and how much they have to do with the truth's: contrast beside PSNR."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bench.scoring.protocol import BORDER, find_shift
from deconvnet.colour import luminance
from deconvnet.files import save_figure
from deconvnet.ops.window import hann

__all__ = ["Agreement", "coherent_up_to", "draw_agreement", "mean_agreement", "radial_agreement", "worst_gains"]

#: Width of the radial bands in cycles per pixel, the first of which begins at one width.
WIDTH = 0.025
#: Coherence from which on the gain is asked to be right.
COHERENT = 0.9


class Agreement(NamedTuple):
    """What `radial_agreement` returns; arrays (bands,).

    Attributes
    ----------
    frequency : float array
        Middles of the bands, cycles per pixel.
    gain : float array
        ``Re⟨X̂, X⟩ / ‖X‖²``: 1 where contrast is right, above 1 where it is overdone.
    coherence : float array
        ``Re⟨X̂, X⟩ / (‖X̂‖ ‖X‖)``: 1 where the picture is the truth but for the gain.
    """

    frequency: np.ndarray
    gain: np.ndarray
    coherence: np.ndarray


def radial_agreement(picture, truth, border=BORDER):
    """Gain and coherence of a picture in radial bands of frequency.

    Parameters
    ----------
    picture, truth : float array (H, W) or (H, W, 3)
        In [0, 1]; of colour pictures the luminance counts.
    border : int
        Pixels left out on each side.

    Returns
    -------
    Agreement

    Notes
    -----
    Both are cut, lose their means, and are Hann-windowed. The picture is moved onto the truth first, by the phase of
    its spectrum.
    """
    picture, truth = (luminance(image).astype(np.float64) for image in (picture, truth))
    down, right = find_shift(picture, truth, border)
    inside = tuple(slice(border, n - border) for n in truth.shape)
    window = np.outer(*(hann(n - 2 * border) for n in truth.shape))
    found_hat, truth_hat = (np.fft.rfft2((image[inside] - image[inside].mean()) * window) for image in (picture, truth))
    fy, fx = np.fft.fftfreq(window.shape[0])[:, None], np.fft.rfftfreq(window.shape[1])
    found_hat *= np.exp(2j * np.pi * (fy * down + fx * right))
    band = (np.hypot(fy, fx) / WIDTH).astype(int).ravel()
    count = int(0.5 / WIDTH)

    def sums(values):
        return np.bincount(band, values.ravel(), count)[1:count]

    common = sums((found_hat * truth_hat.conj()).real)
    found_power, truth_power = (sums(abs(spectrum) ** 2) for spectrum in (found_hat, truth_hat))
    coherence = common / np.sqrt(np.maximum(found_power * truth_power, 1e-30))
    return Agreement((np.arange(1, count) + 0.5) * WIDTH, common / np.maximum(truth_power, 1e-30), coherence)


def worst_gains(found):
    """Least and largest gain of the bands whose coherence is at least `COHERENT`; (1, 1) if there are none.

    Parameters
    ----------
    found : Agreement

    Returns
    -------
    (float, float)
    """
    gains = found.gain[found.coherence >= COHERENT]
    return (float(gains.min()), float(gains.max())) if len(gains) else (1.0, 1.0)


def coherent_up_to(found):
    """Frequency in cycles per pixel up to which the coherence is at least `COHERENT`.

    Parameters
    ----------
    found : Agreement

    Returns
    -------
    float
        The upper end of the last band before the first that falls below; 0 if there is none.
    """
    low = found.coherence < COHERENT
    bands = int(low.argmax()) if low.any() else len(low)
    return float(found.frequency[bands - 1] + WIDTH / 2) if bands else 0.0


def mean_agreement(found):
    """Gain and coherence of several pictures on average.

    Parameters
    ----------
    found : sequence of Agreement

    Returns
    -------
    Agreement
    """
    return Agreement(*(np.mean([getattr(one, name) for one in found], axis=0) for name in Agreement._fields))


def draw_agreement(path, curves, title):
    """Plot of gain and coherence over frequency.

    Parameters
    ----------
    path : path-like
    curves : dict of str to Agreement
    title : str
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.axhspan(0.95, 1.05, color="0.9")
    for name, found in curves.items():
        left.plot(found.frequency, found.gain, label=name)
        right.plot(found.frequency, found.coherence, label=name)
    left.set(ylabel="radial gain", ylim=(0, 1.6))
    right.set(ylabel="coherence", ylim=(0, 1.02))
    for axes in (left, right):
        axes.set_xlabel("cycles per pixel")
        axes.grid(alpha=0.3)
    left.legend(fontsize=7)
    figure.suptitle(title, fontsize=9)
    save_figure(path, figure, dpi=110)
