// A separable window on images that are laid into a larger grid of zeros, and the adjoint.
// One thread per pixel of the result; images along y of the launch.

// out[m, i, j] = images[m, i, j] down[i] across[j], zero outside of the image
extern "C" __global__ void fade_pad(
    const REAL *__restrict__ images, const REAL *__restrict__ down, const REAL *__restrict__ across, long long count,
    long long height, long long width, long long below, long long beside, REAL *__restrict__ out) {
    long long place = THREAD_X;
    if (place >= below * beside) return;
    long long i = place / beside, j = place % beside;
    bool inside = i < height && j < width;
    REAL factor = inside ? down[i] * across[j] : REAL(0);
    for (long long m = blockIdx.y; m < count; m += gridDim.y)
        out[m * below * beside + place] = inside ? images[(m * height + i) * width + j] * factor : REAL(0);
}

// out[m, i, j] = grids[m, i, j] down[i] across[j] for the pixels of the image
extern "C" __global__ void fade_crop(
    const REAL *__restrict__ grids, const REAL *__restrict__ down, const REAL *__restrict__ across, long long count,
    long long height, long long width, long long below, long long beside, REAL *__restrict__ out) {
    long long place = THREAD_X;
    if (place >= height * width) return;
    long long i = place / width, j = place % width;
    REAL factor = down[i] * across[j];
    for (long long m = blockIdx.y; m < count; m += gridDim.y)
        out[m * height * width + place] = grids[(m * below + i) * beside + j] * factor;
}
