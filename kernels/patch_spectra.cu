// Half spectra of patches that lost their mean and fade at the borders. One block of 256 threads per patch: its rows
// times the matrix `rows`, and the matrix `columns` times that; both matrices are DFT factors times the window.
extern "C" __global__ void patch_spectra(
    const REAL *__restrict__ patches, int side, int width, const COMPLEX *__restrict__ rows,
    const COMPLEX *__restrict__ columns, COMPLEX *by_rows, COMPLEX *__restrict__ patches_hat,
    REAL *__restrict__ means) {
    __shared__ REAL scratch[256];
    long long patch = blockIdx.x;
    patches += patch * side * side;
    by_rows += patch * side * width;
    patches_hat += patch * side * width;
    REAL own = 0;
    for (int p = threadIdx.x; p < side * side; p += blockDim.x) own += patches[p];
    REAL mean = block_sum(own, scratch) / REAL(side * side);
    if (threadIdx.x == 0) means[patch] = mean;
    for (int p = threadIdx.x; p < side * width; p += blockDim.x) {
        int i = p / width, k = p % width;
        COMPLEX sum = complex_of(0, 0);
        for (int j = 0; j < side; j++) sum = add(sum, scale(patches[i * side + j] - mean, rows[j * width + k]));
        by_rows[p] = sum;
    }
    __syncthreads();
    for (int p = threadIdx.x; p < side * width; p += blockDim.x) {
        int z = p / width, k = p % width;
        COMPLEX sum = complex_of(0, 0);
        for (int i = 0; i < side; i++) sum = add(sum, multiply(columns[z * side + i], by_rows[i * width + k]));
        patches_hat[p] = sum;
    }
}
