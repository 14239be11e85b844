// Multi-frame quotient of patches. One block of 256 threads per burst goes through the frames one after the other, so
// that the sums over them are taken in the same order every time; each thread adds to its own frequencies.
//
// Forwards the rows of patch and PSF times `rows`, then `columns` times that (DFT factors, for the patch times the
// window); backwards `back_columns` times the quotient, then the real part of that times `back_rows`.
#include "patch_transforms.cuh"

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
        // All threads wait in here, also for those that still read `by_rows` of the frame before.
        REAL mean = block_mean(patch, side * side, scratch);
        total += mean;
        transform_rows(patch, mean, side, rows, width, by_rows);
        transform_rows(psf, 0, size, psf_rows, width, psf_by_rows);
        __syncthreads();
        for (int p = threadIdx.x; p < side * width; p += blockDim.x) {
            int z = p / width, k = p % width;
            COMPLEX y = column_product(columns + z * side, by_rows + k, side, width);
            COMPLEX x = column_product(psf_columns + z * size, psf_by_rows + k, size, width);
            quotient[p] = add(quotient[p], multiply_conj(x, y));
            denominator[p] += square_abs(x);
        }
    }
    for (int p = threadIdx.x; p < side * width; p += blockDim.x) quotient[p] = scale(1 / denominator[p], quotient[p]);
    inverse_centre(quotient, side, width, centre, back_columns, back_rows, total / REAL(frames), by_rows, out);
}
