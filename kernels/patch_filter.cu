// Filters that are given in the Fourier domain, applied to patches of which only the middle is wanted.

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
    for (int p = threadIdx.x; p < side * width; p += blockDim.x) {
        int i = p / width, k = p % width;
        COMPLEX sum = complex_of(0, 0);
        for (int j = 0; j < side; j++) sum = add(sum, scale(patches[i * side + j], rows[j * width + k]));
        by_rows[p] = sum;
    }
    __syncthreads();
    for (int p = threadIdx.x; p < side * width; p += blockDim.x) {
        int z = p / width, k = p % width;
        COMPLEX sum = complex_of(0, 0);
        for (int i = 0; i < side; i++) sum = add(sum, multiply(columns[z * side + i], by_rows[i * width + k]));
        filtered_hat[p] = multiply(coefficient(filters, side, z, k), sum);
    }
    __syncthreads();
    for (int p = threadIdx.x; p < centre * width; p += blockDim.x) {
        int i = p / width, k = p % width;
        COMPLEX sum = complex_of(0, 0);
        for (int z = 0; z < side; z++)
            sum = add(sum, multiply(back_columns[i * side + z], filtered_hat[z * width + k]));
        by_rows[p] = sum;
    }
    __syncthreads();
    for (int p = threadIdx.x; p < centre * centre; p += blockDim.x) {
        int i = p / centre, j = p % centre;
        REAL sum = 0;
        for (int k = 0; k < width; k++) sum += multiply(by_rows[i * width + k], back_rows[k * centre + j]).x;
        out[p] = sum;
    }
}
