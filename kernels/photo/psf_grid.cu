// An accelerated projected gradient for non-negative PSFs on a support of SIDE x SIDE. One block per PSF; its threads
// share the pixels.

extern "C" __global__ void projected_gradient(
    const REAL *__restrict__ own, const REAL *__restrict__ target, const REAL *__restrict__ start,
    const REAL *__restrict__ support, const REAL *__restrict__ shares, long long supports, long long steps, REAL beta,
    REAL steepest, REAL *__restrict__ out) {
    const int pixels = SIDE * SIDE, lags = 2 * SIDE - 1;
    __shared__ REAL ahead[SIDE * SIDE];
    long long first = (long long)blockIdx.x * pixels, inside = supports > 1 ? first : 0;
    for (int i = threadIdx.x; i < pixels; i += blockDim.x) {
        ahead[i] = start[first + i];
        out[first + i] = start[first + i];
    }
    for (long long step = 0; step < steps; step++) {
        __syncthreads();  // ahead is whole
        REAL next[(SIDE * SIDE + THREADS - 1) / THREADS];
        for (int i = threadIdx.x, n = 0; i < pixels; i += blockDim.x, n++) {
            const REAL *lag = own + (i / SIDE + SIDE - 1) * lags + i % SIDE + SIDE - 1;
            REAL slope = beta * ahead[i] - target[first + i];
            for (int p = 0; p < SIDE; p++)
                for (int q = 0; q < SIDE; q++) slope += ahead[p * SIDE + q] * lag[-p * lags - q];
            next[n] = max(ahead[i] - slope / steepest, REAL(0)) * support[inside + i];
        }
        __syncthreads();  // nobody reads it any more
        for (int i = threadIdx.x, n = 0; i < pixels; i += blockDim.x, n++) {
            ahead[i] = next[n] + shares[step] * (next[n] - out[first + i]);
            out[first + i] = next[n];
        }
    }
}
