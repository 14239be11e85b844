"""Blurred, noisy frames of a burst from a sharp crop and PSFs, in one pass per frame."""

from __future__ import annotations

import math

import numpy as np

from deconvnet.backend import Array, array_module, irfft2, rfft2
from deconvnet.kernels import cuda
from deconvnet.kernels.compiled import compiled
from deconvnet.kernels.kernel import Kernel, in_chunks
from deconvnet.kernels.synthesis.counter_random import normal_pair, normal_pair_array
from deconvnet.kernels.synthesis.jpeg import jpeg_degradation, jpeg_frame
from deconvnet.kernels.synthesis.srgb import encode_srgb, linear_to_srgb

SOURCE = "synthesis/burst_synthesis"
__all__ = ["burst_synthesis", "synthesised_frames"]

_TILE = 16  # rows convolved at a time: they and the image rows they need stay in the first-level cache


def burst_synthesis(
    sharp: Array,
    psfs: Array,
    keys: Array,
    *,
    gain: Array | None = None,
    angle: Array | None = None,
    read: Array | None = None,
    shot: Array | None = None,
    grain: Array | None = None,
    clip: bool = False,
    srgb: bool = False,
    quality: Array | None = None,
    offset: Array | None = None,
) -> Array:
    """Frames of B bursts: blur, rotate, scale, add noise, clip, encode, compress.

    Parameters
    ----------
    sharp : array (B, S, S)
        Sharp crops, float32 or float64; linear light if `srgb`.
    psfs : array (B, N, P, P)
        One PSF per frame; taps that are zero cost nothing on the CPU.
    keys : uint32 array (B, N, 2)
        Keys of the noise, from `deconvnet.kernels.synthesis.counter_random.draw_keys`.
    gain : array (B, N), optional
        Factor on each frame; 1 by default.
    angle : array (B, N), optional
        Rotation about the centre in radians, counter-clockwise as seen; the displacement in the corners must stay
        below half a pixel. If given, a border of one more pixel is used up, whatever the angles are.
    read, shot : array (B, N), optional
        Variance of the noise = read + shot · signal; 0 by default.
    grain : array (B, N), optional
        Weight, relative to the pixel's own, of the four nearest pixels' noise in each pixel's: 0 (the default) leaves
        the noise white, 0.5 makes it as coarse as binomial smoothing does. The variance stays.
    clip : bool
        Clip to [0, 1] after the noise, like a sensor.
    srgb : bool
        Apply the sRGB curve at the end; needs `clip`.
    quality : array (B, N), optional
        JPEG quality, 0 for none; needs `clip`. None by default.
    offset : int array (B, N, 2), optional
        Place in JPEG's grid of blocks, 0 to 7; zeros by default.

    Returns
    -------
    array (B, N, H, H)
        ``H = S − P + 1``, two less with `angle`; dtype of `sharp`.

    Raises
    ------
    ValueError
        If shapes do not fit, or an option lacks the clipping that it needs.

    Notes
    -----
    ``y = jpeg(srgb(clip(gain · rotate(psf * x) + √(read + shot · max(signal, 0)) · n)))`` with a true, *valid*
    convolution. Grain g smooths n by ``[g, 1, g] / √(1 + 2g²)`` along rows and columns, periodically. The rotation is
    a horizontal and a vertical shear, each by quadratic interpolation through the three nearest pixels; for angles
    this small the two shears differ from a rotation by less than 0.001 px. The noise n is
    the same on every device (`deconvnet.kernels.synthesis.counter_random`).
    """
    xp = array_module(sharp, psfs, keys)
    batch, frames = psfs.shape[:2]
    if sharp.shape[0] != batch or keys.shape != (batch, frames, 2):
        raise ValueError(f"sharp {sharp.shape}, psfs {psfs.shape} and keys {keys.shape} do not fit together")
    if (srgb or quality is not None) and not clip:
        raise ValueError("srgb and quality need clip=True")
    side = sharp.shape[-1] - psfs.shape[-1] + 1 - (0 if angle is None else 2)
    if side < 1:
        raise ValueError(f"a sharp crop of side {sharp.shape[-1]} is too small for PSFs of side {psfs.shape[-1]}")
    if angle is not None and float(abs(angle).max()) * (side - 1) / 2 > 0.5:
        raise ValueError("the rotation displaces pixels by more than half a pixel")

    def per_frame(value, default):
        return xp.full((batch, frames), default, sharp.dtype) if value is None else value.astype(sharp.dtype)

    arguments = (
        sharp,
        psfs.astype(sharp.dtype, copy=False),
        keys,
        per_frame(gain, 1),
        None if angle is None else per_frame(angle, 0),
        per_frame(read, 0),
        per_frame(shot, 0),
        per_frame(grain, 0),
        clip,
        srgb,
        None if quality is None else per_frame(quality, 0),
        xp.zeros((batch, frames, 2), np.int64) if offset is None else offset.astype(np.int64),
    )
    return synthesised_frames(*arguments)


# --- reference ---------------------------------------------------------------------------------------------------


def _shear_weights(d):
    """Weights of the pixels at −1, 0, 1 for the value at d, by the parabola through them."""
    return d * (d - 1) / 2, 1 - d * d, d * (d + 1) / 2


def _reference(sharp, psfs, keys, gain, angle, read, shot, grain, clip, srgb, quality, offset):
    """`burst_synthesis` with all options given: the convolution by FFT, the rest frame-parallel.

    ``angle`` and ``quality`` may be None; the others are as `burst_synthesis` describes them.
    """
    xp = array_module(sharp, psfs, keys)
    batch, frames, taps = psfs.shape[:3]
    size = sharp.shape[-1]
    padded = xp.zeros((batch, frames, size, size), sharp.dtype)
    padded[:, :, :taps, :taps] = psfs
    image = irfft2(rfft2(sharp)[:, None] * rfft2(padded), (size, size))[:, :, taps - 1 :, taps - 1 :]
    if angle is not None:
        image = _rotate_reference(xp, image, angle)
    height, width = image.shape[-2:]
    image = image * gain[:, :, None, None]
    half = (width + 1) // 2
    counter = (xp.arange(height)[:, None] * half + xp.arange(half)[None, :]).astype(xp.uint32)
    first, second = normal_pair_array(counter, keys[:, :, :1, None], keys[:, :, 1:, None])
    noise = xp.concatenate([first, second], axis=-1)[..., :width].astype(sharp.dtype)
    side, scale = grain[:, :, None, None], 1 / xp.sqrt(1 + 2 * grain[:, :, None, None] ** 2)
    for axis in (-1, -2):
        noise = scale * (noise + side * (xp.roll(noise, 1, axis) + xp.roll(noise, -1, axis)))
    variance = read[:, :, None, None] + shot[:, :, None, None] * xp.maximum(image, 0)
    image = image + xp.sqrt(variance) * noise
    if clip:
        image = xp.clip(image, 0, 1)
    if srgb:
        image = linear_to_srgb(image).astype(sharp.dtype)
    if quality is not None:
        flat = jpeg_degradation.reference(image.reshape(-1, height, width), quality.reshape(-1), offset.reshape(-1, 2))
        image = flat.reshape(image.shape)
    return xp.ascontiguousarray(image)


def _rotate_reference(xp, image, angle):
    """Rotate ``(B, N, H + 2, W + 2)`` by ``(B, N)`` radians and drop the border of one pixel."""
    height, width = image.shape[-2] - 2, image.shape[-1] - 2
    down = xp.arange(-1, height + 1, dtype=image.dtype)[:, None] - (height - 1) / 2
    right = xp.arange(width, dtype=image.dtype)[None, :] - (width - 1) / 2
    left_w, middle_w, right_w = _shear_weights((-angle[:, :, None, None] * down).astype(image.dtype))
    image = left_w * image[..., :-2] + middle_w * image[..., 1:-1] + right_w * image[..., 2:]
    top_w, middle_w, bottom_w = _shear_weights((angle[:, :, None, None] * right).astype(image.dtype))
    return top_w * image[:, :, :-2] + middle_w * image[:, :, 1:-1] + bottom_w * image[:, :, 2:]


# --- CPU ---------------------------------------------------------------------------------------------------------


@compiled(fastmath={"contract"})
def _convolve_valid(image, psf, out):
    """Valid true convolution of ``image (S, S)`` with the non-zero taps of ``psf (P, P)`` into ``out (H, H)``.

    A tile of rows is convolved as if it were one long line: the few values at the row ends that mix two rows are
    computed and thrown away, and the inner loop stays long and free of special cases.
    """
    size, side, taps = image.shape[1], out.shape[0], psf.shape[0]
    offsets = np.zeros(taps * taps + 8, np.int64)
    weights = np.zeros(taps * taps + 8, image.dtype)  # taps come in eights: the last ones may weigh zero
    count = 0
    for i in range(taps):
        for j in range(taps):
            if psf[i, j] != 0:
                offsets[count] = (taps - 1 - i) * size + taps - 1 - j
                weights[count] = psf[i, j]
                count += 1
    flat = image.reshape(-1)
    line = np.empty(_TILE * size, image.dtype)
    for top in range(0, side, _TILE):
        rows = min(_TILE, side - top)
        length = (rows - 1) * size + side
        tile = line[:length]
        tile[:] = 0
        for t in range(0, count, 8):
            w0, w1, w2, w3 = weights[t], weights[t + 1], weights[t + 2], weights[t + 3]
            w4, w5, w6, w7 = weights[t + 4], weights[t + 5], weights[t + 6], weights[t + 7]
            start = top * size
            s0 = flat[start + offsets[t] : start + offsets[t] + length]
            s1 = flat[start + offsets[t + 1] : start + offsets[t + 1] + length]
            s2 = flat[start + offsets[t + 2] : start + offsets[t + 2] + length]
            s3 = flat[start + offsets[t + 3] : start + offsets[t + 3] + length]
            s4 = flat[start + offsets[t + 4] : start + offsets[t + 4] + length]
            s5 = flat[start + offsets[t + 5] : start + offsets[t + 5] + length]
            s6 = flat[start + offsets[t + 6] : start + offsets[t + 6] + length]
            s7 = flat[start + offsets[t + 7] : start + offsets[t + 7] + length]
            for x in range(length):
                tile[x] += (
                    w0 * s0[x]
                    + w1 * s1[x]
                    + w2 * s2[x]
                    + w3 * s3[x]
                    + w4 * s4[x]
                    + w5 * s5[x]
                    + w6 * s6[x]
                    + w7 * s7[x]
                )
        for y in range(rows):
            out[top + y] = tile[y * size : y * size + side]


@compiled(fastmath={"contract"})
def _rotate(image, angle, out):
    """Two shears of ``image (H + 2, W + 2)`` into ``out (H, W)``."""
    height, width = out.shape
    dtype = image.dtype
    one, half = dtype.type(1), dtype.type(0.5)
    sheared = np.empty((height + 2, width), dtype)
    for y in range(height + 2):
        d = -angle * dtype.type(y - 1 - (height - 1) / 2)
        w0, w1, w2 = d * (d - one) * half, one - d * d, d * (d + one) * half
        source, row = image[y], sheared[y]
        for x in range(width):
            row[x] = w0 * source[x] + w1 * source[x + 1] + w2 * source[x + 2]
    for y in range(height):
        above, here, below, row = sheared[y], sheared[y + 1], sheared[y + 2], out[y]
        for x in range(width):
            d = angle * dtype.type(x - (width - 1) / 2)
            row[x] = d * (d - one) * half * above[x] + (one - d * d) * here[x] + d * (d + one) * half * below[x]


@compiled
def _fill_noise(noise, key0, key1):
    """Standard normal numbers; a pair of the generator lies half a row apart."""
    height, width = noise.shape
    half = (width + 1) // 2
    line = np.empty(2 * half, np.float32)
    for y in range(height):
        for x in range(half):
            line[x], line[half + x] = normal_pair(np.uint32(y * half + x), key0, key1)
        noise[y] = line[:width]


@compiled(fastmath={"contract"})
def _smooth_periodic(noise, side):
    """``[side, 1, side]`` along rows and columns, scaled to keep the variance of white noise; in place."""
    height, width = noise.shape
    scale = np.float32(1 / (1 + 2 * side * side))
    rows = np.empty_like(noise)
    for y in range(height):
        for x in range(1, width - 1):
            rows[y, x] = scale * (noise[y, x] + side * (noise[y, x - 1] + noise[y, x + 1]))
        rows[y, 0] = scale * (noise[y, 0] + side * (noise[y, width - 1] + noise[y, 1 % width]))
        rows[y, width - 1] = scale * (noise[y, width - 1] + side * (noise[y, width - 2] + noise[y, 0]))
    for y in range(height):
        above, here, below = rows[y - 1], rows[y], rows[(y + 1) % height]
        for x in range(width):
            noise[y, x] = here[x] + side * (above[x] + below[x])


@compiled(fastmath={"contract"})
def _expose(image, key0, key1, gain, read, shot, grain, clip, srgb):
    """Gain, noise, clipping and the sRGB curve, in place."""
    height, width = image.shape
    dtype = image.dtype
    zero, one = dtype.type(0), dtype.type(1)
    noise = np.zeros((height, width), np.float32)
    if read > 0 or shot > 0:
        _fill_noise(noise, key0, key1)
        if grain > 0:
            _smooth_periodic(noise, np.float32(grain))
    for y in range(height):
        row, noise_row = image[y], noise[y]
        for x in range(width):
            value = gain * row[x]
            row[x] = value + math.sqrt(read + shot * max(value, zero)) * noise_row[x]
        if clip:
            for x in range(width):
                row[x] = min(max(row[x], zero), one)
        if srgb:
            for x in range(width):
                row[x] = encode_srgb(row[x])


@compiled
def _synthesise(
    sharp, psfs, keys, gain, angle, rotate, read, shot, grain, clip, srgb, quality, offset, out, begin, end
):
    frames = psfs.shape[1]
    margin = 2 if rotate else 0
    for index in range(begin, end):
        b, n = index // frames, index % frames
        image = out[b, n]
        if rotate:
            blurred = np.empty((image.shape[0] + margin, image.shape[1] + margin), sharp.dtype)
            _convolve_valid(sharp[b], psfs[b, n], blurred)
            _rotate(blurred, angle[b, n], image)
        else:
            _convolve_valid(sharp[b], psfs[b, n], image)
        key0, key1 = keys[b, n, 0], keys[b, n, 1]
        _expose(image, key0, key1, gain[b, n], read[b, n], shot[b, n], grain[b, n], clip, srgb)
        if quality[b, n] > 0:
            jpeg_frame(image, quality[b, n], offset[b, n, 0], offset[b, n, 1])


def _numba(sharp, psfs, keys, gain, angle, read, shot, grain, clip, srgb, quality, offset):
    """Frame after frame."""
    rotate = angle is not None
    side = sharp.shape[-1] - psfs.shape[-1] + 1 - (2 if rotate else 0)
    out = np.empty((*psfs.shape[:2], side, side), sharp.dtype)
    absent = np.zeros_like(gain)
    arguments = (  # contiguous arrays only: each other layout would be compiled anew
        np.ascontiguousarray(sharp),
        np.ascontiguousarray(psfs),
        np.ascontiguousarray(keys),
        gain,
        angle if rotate else absent,
        rotate,
        read,
        shot,
        grain,
        clip,
        srgb,
        absent if quality is None else quality,
        offset,
        out,
    )
    in_chunks(_synthesise, arguments, out.shape[0] * out.shape[1], 1)
    return out


# --- GPU ---------------------------------------------------------------------------------------------------------


def _cuda(sharp, psfs, keys, gain, angle, read, shot, grain, clip, srgb, quality, offset):
    """Convolution with the taps that are not zero, noise, all the rest, then JPEG."""
    xp = array_module(sharp, psfs, keys, gain)
    real = sharp.dtype
    bursts, size, _ = sharp.shape
    taps = psfs.shape[-1]
    per_burst, shape = psfs.shape[1], psfs.shape[:2]
    sharp, psfs, keys, gain, read, shot, grain = map(xp.ascontiguousarray, (sharp, psfs, keys, gain, read, shot, grain))
    cuda.expect(
        sharp=(sharp, (bursts, size, size)),
        psfs=(psfs, (bursts, per_burst, taps, taps)),
        keys=(keys, (*shape, 2)),
        gain=(gain, shape),
        read=(read, shape),
        shot=(shot, shape),
        grain=(grain, shape),
    )
    if angle is not None:
        angle = xp.ascontiguousarray(angle)
        cuda.expect(angle=(angle, shape))
    frames, whole = bursts * per_burst, size - taps + 1
    side = whole - (0 if angle is None else 2)

    places = xp.empty((frames, taps * taps), dtype=np.int32)
    weights = xp.empty((frames, taps * taps), dtype=real)
    counts = xp.empty(frames, dtype=np.int32)
    cuda.launch(
        "synthesis/burst_synthesis", "tap_list", frames, 256, [psfs, taps, size, places, weights, counts], real=real
    )

    blurred = xp.empty((frames, whole, whole), dtype=real)
    tiles = cuda.blocks(whole, 32)
    arguments = [sharp, places, weights, counts, per_burst, size, taps * taps, whole, tiles, blurred]
    cuda.launch(SOURCE, "convolve", frames * tiles * tiles, (32, 8), arguments, real=real)

    noise = xp.empty((frames, side, side), dtype=np.float32)
    grid = (cuda.blocks(side * ((side + 1) // 2), 256), min(frames, 65535))
    cuda.launch(
        "synthesis/burst_synthesis", "noise_field", grid, 256, [keys, read, shot, frames, side, noise], real=real
    )

    out = xp.empty((*shape, side, side), dtype=real)
    arguments = [blurred, noise, angle, gain, read, shot, grain, frames, side, clip, srgb, out]
    grid = (cuda.blocks(side * side, 256), min(frames, 65535))
    cuda.launch(SOURCE, "expose", grid, 256, arguments, real=real)
    if quality is not None:
        flat = out.reshape(frames, side, side)
        jpeg_degradation.cuda(flat, quality.reshape(-1), offset.reshape(-1, 2), out=flat)
    return out


synthesised_frames = Kernel("synthesised_frames", reference=_reference, cpu=_numba, cuda=_cuda)
