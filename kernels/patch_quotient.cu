// Multi-frame quotient of patches. One block of 256 threads per burst goes through the frames one after the other, so
// that the sums over them are taken in the same order every time; each thread adds to its own frequencies.
//
// Forwards the rows of patch and PSF times `rows`, then `columns` times that (DFT factors, for the patch times the
// window); backwards `back_columns` times the quotient, then the real part of that times `back_rows`.
extern "C" __global__ void patch_quotient(
    const REAL *__restrict__ patches, const REAL *__restrict__ psfs, const REAL *__restrict__ beta, long long frames,
    int side, int width, int size, int centre, const COMPLEX *__restrict__ rows, const COMPLEX *__restrict__ columns,
    const COMPLEX *__restrict__ psf_rows, const COMPLEX *__restrict__ psf_columns,
    const COMPLEX *__restrict__ back_columns, const COMPLEX *__restrict__ back_rows, COMPLEX *by_rows,
    COMPLEX *psf_by_rows, COMPLEX *quotient, REAL *denominator, REAL *__restrict__ out) {
    __shared__ REAL scratch[256];
    long long burst = blockIdx.x;
    beta += burst * side * width;
    by_rows += burst * side * width;
    psf_by_rows += burst * size * width;
    quotient += burst * side * width;
    denominator += burst * side * width;
    out += burst * centre * centre;
    for (int p = threadIdx.x; p < side * width; p += blockDim.x) {
        quotient[p] = complex_of(0, 0);
        denominator[p] = beta[p];
    }
    REAL total = 0;
    for (long long n = 0; n < frames; n++) {
        const REAL *patch = patches + (burst * frames + n) * side * side;
        const REAL *psf = psfs + (burst * frames + n) * size * size;
        REAL own = 0;
        for (int p = threadIdx.x; p < side * side; p += blockDim.x) own += patch[p];
        // All threads wait in here, also for those that still read `by_rows` of the frame before.
        REAL mean = block_sum(own, scratch) / REAL(side * side);
        total += mean;
        for (int p = threadIdx.x; p < side * width; p += blockDim.x) {
            int i = p / width, k = p % width;
            COMPLEX sum = complex_of(0, 0);
            for (int j = 0; j < side; j++) sum = add(sum, scale(patch[i * side + j] - mean, rows[j * width + k]));
            by_rows[p] = sum;
        }
        for (int p = threadIdx.x; p < size * width; p += blockDim.x) {
            int i = p / width, k = p % width;
            COMPLEX sum = complex_of(0, 0);
            for (int j = 0; j < size; j++) sum = add(sum, scale(psf[i * size + j], psf_rows[j * width + k]));
            psf_by_rows[p] = sum;
        }
        __syncthreads();
        for (int p = threadIdx.x; p < side * width; p += blockDim.x) {
            int z = p / width, k = p % width;
            COMPLEX y = complex_of(0, 0), x = complex_of(0, 0);
            for (int i = 0; i < side; i++) y = add(y, multiply(columns[z * side + i], by_rows[i * width + k]));
            for (int i = 0; i < size; i++) x = add(x, multiply(psf_columns[z * size + i], psf_by_rows[i * width + k]));
            quotient[p] = add(quotient[p], multiply_conj(x, y));
            denominator[p] += square_abs(x);
        }
    }
    for (int p = threadIdx.x; p < side * width; p += blockDim.x) quotient[p] = scale(1 / denominator[p], quotient[p]);
    __syncthreads();
    for (int p = threadIdx.x; p < centre * width; p += blockDim.x) {
        int i = p / width, k = p % width;
        COMPLEX sum = complex_of(0, 0);
        for (int z = 0; z < side; z++) sum = add(sum, multiply(back_columns[i * side + z], quotient[z * width + k]));
        by_rows[p] = sum;
    }
    __syncthreads();
    for (int p = threadIdx.x; p < centre * centre; p += blockDim.x) {
        int i = p / centre, j = p % centre;
        REAL sum = 0;
        for (int k = 0; k < width; k++) sum += multiply(by_rows[i * width + k], back_rows[k * centre + j]).x;
        out[p] = sum + total / REAL(frames);
    }
}
