// Low-frequency spectra of windows on a grid of places in images. One block of 256 threads per image: rows of pixels
// times `rows`, once for all windows in the same columns, then `columns` times that for each window, only for the
// frequencies that are kept; both matrices are DFT factors times the window's profile.
#include "patch_transforms.cuh"

extern "C" __global__ void window_spectra(
    const REAL *__restrict__ images, int side, int window, int count, const int *__restrict__ steps, int width,
    const COMPLEX *__restrict__ rows, const COMPLEX *__restrict__ columns, int kept, const int *__restrict__ places,
    COMPLEX *by_rows, COMPLEX *__restrict__ windows_hat) {
    __shared__ REAL scratch[256];
    long long image = blockIdx.x;
    int across = count * width;
    images += image * side * side;
    by_rows += image * side * across;
    windows_hat += image * count * count * kept;
    REAL mean = block_mean(images, side * side, scratch);
    for (int p = threadIdx.x; p < side * across; p += blockDim.x) {
        const REAL *line = images + p / across * side + steps[p % across / width];
        by_rows[p] = line_product(line, mean, window, rows + p % width, width);
    }
    __syncthreads();
    for (int p = threadIdx.x; p < count * count * kept; p += blockDim.x) {
        int place = places[p % kept], at = p / kept;
        int z = place / width, k = place % width;
        const COMPLEX *column = by_rows + steps[at / count] * across + at % count * width + k;
        windows_hat[p] = column_product(columns + z * window, column, window, across);
    }
}
