// Half spectra of patches that lost their mean and fade at the borders. One block of 256 threads per patch: its rows
// times the matrix `rows`, and the matrix `columns` times that; both matrices are DFT factors times the window.
#include "patch_transforms.cuh"

extern "C" __global__ void patch_spectra(
    const REAL *__restrict__ patches, int side, int width, const COMPLEX *__restrict__ rows,
    const COMPLEX *__restrict__ columns, COMPLEX *by_rows, COMPLEX *__restrict__ patches_hat,
    REAL *__restrict__ means) {
    __shared__ REAL scratch[256];
    long long patch = blockIdx.x;
    patches += patch * side * side;
    by_rows += patch * side * width;
    patches_hat += patch * side * width;
    REAL mean = block_mean(patches, side * side, scratch);
    if (threadIdx.x == 0) means[patch] = mean;
    transform_rows(patches, mean, side, rows, width, by_rows);
    __syncthreads();
    for (int p = threadIdx.x; p < side * width; p += blockDim.x)
        patches_hat[p] = column_product(columns + p / width * side, by_rows + p % width, side, width);
}
