// Filters that are given in the Fourier domain, applied to patches of which only the middle is wanted.
#include "patch_transforms.cuh"

// Coefficient (z_y = z, z_x = k) of a filter that is given by its independent coefficients: DC is 1, and the column
// k = 0 conjugate-symmetric.
__device__ inline COMPLEX coefficient(const COMPLEX *filter, int side, int z, int k) {
    int reach = side / 2;
    if (k > 0) return filter[z * reach + k - 1];
    if (z == 0) return complex_of(1, 0);
    const COMPLEX *column = filter + side * reach;
    if (z <= reach) return column[z - 1];
    return complex_of(column[side - z - 1].x, -column[side - z - 1].y);
}

// One block of 256 threads per patch. Forwards its rows times `rows`, then `columns` times that; backwards
// `back_columns` times the product with the filter, then the real part of that times `back_rows`.
extern "C" __global__ void patch_filter(
    const COMPLEX *__restrict__ filters, const REAL *__restrict__ patches, int side, int width, int centre,
    const COMPLEX *__restrict__ rows, const COMPLEX *__restrict__ columns, const COMPLEX *__restrict__ back_columns,
    const COMPLEX *__restrict__ back_rows, COMPLEX *by_rows, COMPLEX *filtered_hat, REAL *__restrict__ out) {
    long long patch = blockIdx.x;
    filters += patch * (side * side / 2);
    patches += patch * side * side;
    by_rows += patch * side * width;
    filtered_hat += patch * side * width;
    out += patch * centre * centre;
    transform_rows(patches, 0, side, rows, width, by_rows);
    __syncthreads();
    for (int p = threadIdx.x; p < side * width; p += blockDim.x) {
        int z = p / width, k = p % width;
        COMPLEX value = column_product(columns + z * side, by_rows + k, side, width);
        filtered_hat[p] = multiply(coefficient(filters, side, z, k), value);
    }
    inverse_centre(filtered_hat, side, width, centre, back_columns, back_rows, 0, by_rows, out);
}
