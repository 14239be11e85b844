// The small network across the frames at each coefficient. One thread per coefficient and burst, coefficients along x,
// bursts along y: mean and maximum over the frames stay in registers, hidden units are never written.
extern "C" __global__ void coefficient_net(
    const REAL *__restrict__ x, long long batch, long long frames, long long size, const REAL *__restrict__ weight,
    const REAL *__restrict__ bias, const REAL *__restrict__ last, long long hidden, int residual, REAL *__restrict__ out) {
    long long k = THREAD_X;
    if (k >= size) return;
    for (long long b = blockIdx.y; b < batch; b += gridDim.y) {
        const REAL *burst = x + b * frames * size + k;
        REAL mean = 0, largest = burst[0];
        for (long long n = 0; n < frames; n++) {
            mean += burst[n * size];
            largest = max(largest, burst[n * size]);
        }
        mean /= REAL(frames);
        for (long long n = 0; n < frames; n++) {
            REAL value = burst[n * size];
            REAL sum = residual ? value : REAL(0);
            for (long long h = 0; h < hidden; h++) {
                REAL shared = weight[hidden + h] * mean + weight[2 * hidden + h] * largest + bias[h];
                sum += last[h] * max(shared + weight[h] * value, REAL(0));
            }
            out[(b * frames + n) * size + k] = sum;
        }
    }
}
