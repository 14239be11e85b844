// Selected DFT coefficients of three centred windows of each patch, as reals. One block of 256 threads per patch: its
// rows times `rows`, then for each number of the result the row of `columns` and the column of that product that
// `sources` names; the matrices hold the DFT factors of all windows, with zeros outside of the windows.
#include "patch_transforms.cuh"

extern "C" __global__ void band_transform(
    const REAL *__restrict__ patches, int side, int width, const COMPLEX *__restrict__ rows,
    const COMPLEX *__restrict__ columns, int total, const int *__restrict__ sources, COMPLEX *by_rows,
    REAL *__restrict__ out) {
    long long patch = blockIdx.x;
    patches += patch * side * side;
    by_rows += patch * side * width;
    out += patch * total;
    transform_rows(patches, REAL(0.5), side, rows, width, by_rows);
    __syncthreads();
    for (int t = threadIdx.x; t < total; t += blockDim.x) {
        const COMPLEX *left = columns + sources[3 * t] * side, *right = by_rows + sources[3 * t + 1];
        COMPLEX sum = column_product(left, right, side, width);
        out[t] = sources[3 * t + 2] ? sum.y : sum.x;
    }
}
