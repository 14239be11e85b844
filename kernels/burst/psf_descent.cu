// Accelerated projected gradient for non-negative PSFs on their supports. One block per frame; every thread owns pixels.
// `ahead` (2, N, side, side) is working memory: what a step reads, and what the next one will read.
extern "C" __global__ void psf_descent(
    const REAL *__restrict__ own, const REAL *__restrict__ target, const REAL *__restrict__ start,
    const REAL *__restrict__ support, long long side, REAL beta, REAL stride, const REAL *__restrict__ weights,
    long long steps, REAL *ahead, REAL *out) {
    long long pixels = side * side, lags = 2 * side - 1, first = blockIdx.x * pixels;
    REAL *read = ahead + first, *write = ahead + gridDim.x * pixels + first;
    for (long long p = threadIdx.x; p < pixels; p += blockDim.x)
        out[first + p] = read[p] = support[first + p] > 0 ? start[first + p] : REAL(0);
    __syncthreads();
    for (long long step = 0; step < steps; step++) {
        for (long long p = threadIdx.x; p < pixels; p += blockDim.x) {
            REAL found = 0, further = 0;
            if (support[first + p] > 0) {
                const REAL *origin = own + (p / side + side - 1) * lags + p % side + side - 1;
                REAL slope = beta * read[p] - target[first + p];
                for (long long i = 0; i < side; i++)
                    for (long long j = 0; j < side; j++) slope += origin[-i * lags - j] * read[i * side + j];
                found = max(read[p] - slope * stride, REAL(0));
                further = found + weights[step] * (found - out[first + p]);
            }
            out[first + p] = found;
            write[p] = further;
        }
        __syncthreads();
        REAL *last = read;
        read = write;
        write = last;
    }
}
