// Relative spectra and log powers of a burst, in two passes.

// Mean over the frames of every window's spectrum, its power summed over the windows, and the log of that.
// One thread per frequency and example; frequencies along x, examples along y.
extern "C" __global__ void burst_mean(
    const COMPLEX *__restrict__ windows_hat, long long batch, long long frames, long long windows, long long size,
    REAL absolute_floor, COMPLEX *__restrict__ mean, REAL *__restrict__ mean_power, REAL *__restrict__ log_mean_power) {
    long long f = THREAD_X;
    if (f >= size) return;
    for (long long b = blockIdx.y; b < batch; b += gridDim.y) {
        REAL power = 0;
        for (long long w = 0; w < windows; w++) {
            COMPLEX sum = complex_of(0, 0);
            for (long long n = 0; n < frames; n++) sum = add(sum, windows_hat[((b * frames + n) * windows + w) * size + f]);
            sum = complex_of(sum.x / REAL(frames), sum.y / REAL(frames));
            mean[(b * windows + w) * size + f] = sum;
            power += square_abs(sum);
        }
        mean_power[b * size + f] = power;
        log_mean_power[b * size + f] = log(power + absolute_floor);
    }
}

// Clipped ratio of a frame to the mean, and its log power. One block of 256 threads per frame of an example, which
// first averages the mean's power over the frequencies.
extern "C" __global__ void frame_ratio(
    const COMPLEX *__restrict__ windows_hat, const COMPLEX *__restrict__ mean, const REAL *__restrict__ mean_power,
    long long frames, long long windows, long long size, REAL relative_floor, REAL absolute_floor, REAL bound,
    REAL *__restrict__ ratio, REAL *__restrict__ log_power) {
    __shared__ REAL scratch[256];
    long long image = blockIdx.x, b = image / frames;
    REAL own = 0;
    for (long long f = threadIdx.x; f < size; f += blockDim.x) own += mean_power[b * size + f];
    REAL regulariser = relative_floor * (block_sum(own, scratch) / REAL(size)) + absolute_floor;
    for (long long f = threadIdx.x; f < size; f += blockDim.x) {
        COMPLEX cross = complex_of(0, 0);
        REAL power = 0;
        for (long long w = 0; w < windows; w++) {
            COMPLEX p = windows_hat[(image * windows + w) * size + f];
            cross = add(cross, multiply_conj(mean[(b * windows + w) * size + f], p));
            power += square_abs(p);
        }
        REAL denominator = mean_power[b * size + f] + regulariser;
        ratio[2 * image * size + f] = min(max(cross.x / denominator, -bound), bound);
        ratio[(2 * image + 1) * size + f] = min(max(cross.y / denominator, -bound), bound);
        log_power[image * size + f] = log(power + absolute_floor);
    }
}
