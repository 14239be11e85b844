// Blur kernels from camera paths. Paths are in double precision, as in psf_sampling.py; REAL is not used.
#include "counter_random.cu"

// Path of a Gaussian process in pixels on the grid, path (count, 2, samples), for one PSF per block of 128 threads.
// The Markov chain z[t] = A z[t - 1] + L noise[t] is run by one thread for the rows and one for the columns, while the
// others make noise. Trials until one stays on the grid: done tells whether there was one.
extern "C" __global__ void gp_paths(
    const unsigned int *__restrict__ keys, const double *__restrict__ extent, const double *__restrict__ shift, int size,
    int samples, int redraws, double deviation, double a00, double a01, double a10, double a11, double l00, double l10,
    double l11, double *__restrict__ path, int *__restrict__ done) {
    __shared__ float2 noise[2][128];
    __shared__ double origin[2];
    __shared__ double sum[2], low[2], high[2];
    __shared__ int accepted;
    long long psf = blockIdx.x;
    int axis = threadIdx.x;  // of the threads 0 and 1
    double reach = extent[psf], place = size / 2;
    double *own = path + 2 * psf * samples;
    if (threadIdx.x == 0) accepted = reach <= 0;
    if (threadIdx.x < 2) origin[axis] = place + shift[2 * psf + axis];
    __syncthreads();
    if (reach <= 0) {
        for (int t = threadIdx.x; t < 2 * samples; t += blockDim.x) own[t] = origin[t / samples];
    }
    for (int trial = 0; trial < redraws && !accepted; trial++) {
        double value = 0, slope = 0, total = 0, least = 0, most = 0;
        for (int start = 0; start < samples; start += 128) {
            int t = start + threadIdx.x;
            if (t < samples) {
                unsigned int counter = 2u * samples * trial + 2u * t;
                noise[0][threadIdx.x] = normal_pair(counter, keys[2 * psf], keys[2 * psf + 1]);
                noise[1][threadIdx.x] = normal_pair(counter + 1, keys[2 * psf], keys[2 * psf + 1]);
            }
            __syncthreads();
            if (threadIdx.x < 2) {
                for (int i = 0; i < min(128, samples - start); i++) {
                    double a = noise[axis][i].x, b = noise[axis][i].y;
                    if (start + i == 0) {
                        value = deviation * a;
                        slope = deviation * b;
                        least = most = value;
                    } else {
                        double before = value;
                        value = a00 * before + a01 * slope + l00 * a;
                        slope = a10 * before + a11 * slope + l10 * a + l11 * b;
                    }
                    own[(long long)axis * samples + start + i] = value;
                    total += value;
                    least = min(least, value);
                    most = max(most, value);
                }
            }
            __syncthreads();
        }
        if (threadIdx.x < 2) {
            sum[axis] = total / samples;
            low[axis] = least;
            high[axis] = most;
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            bool fits = true;
            for (int i = 0; i < 2; i++) {
                double start = place + shift[2 * psf + i] - reach * sum[i];
                origin[i] = start;
                fits = fits && low[i] - sum[i] >= -0.5 && high[i] - sum[i] <= 0.5;
                fits = fits && start + reach * low[i] >= 0 && start + reach * high[i] <= size - 1;
            }
            accepted = fits;
        }
        __syncthreads();
        if (accepted) {
            for (int t = threadIdx.x; t < 2 * samples; t += blockDim.x) own[t] = reach * own[t] + origin[t / samples];
        }
    }
    if (threadIdx.x == 0) done[psf] = accepted;
}

// Stretch of a recorded path, scaled to its extent or to what fits on the grid; one PSF per block of 256 threads.
extern "C" __global__ void recorded_paths(
    const double *__restrict__ angles, long long rows, const double *__restrict__ first, const double *__restrict__ step,
    const double *__restrict__ projection, const double *__restrict__ extent, const double *__restrict__ shift, int size,
    int samples, double *__restrict__ path) {
    __shared__ double scratch[256];
    long long psf = blockIdx.x;
    const double *p = projection + 6 * psf;
    double *down = path + 2 * psf * samples, *right = down + samples;
    double sum0 = 0, sum1 = 0;
    for (int t = threadIdx.x; t < samples; t += blockDim.x) {
        double position = first[psf] + step[psf] * t;
        long long row = min((long long)position, rows - 2);
        double weight = position - row;
        const double *a = angles + 3 * row;
        double a0 = (1 - weight) * a[0] + weight * a[3];
        double a1 = (1 - weight) * a[1] + weight * a[4];
        double a2 = (1 - weight) * a[2] + weight * a[5];
        down[t] = p[0] * a0 + p[1] * a1 + p[2] * a2;
        right[t] = p[3] * a0 + p[4] * a1 + p[5] * a2;
        sum0 += down[t];
        sum1 += right[t];
    }
    double mean0 = block_sum(sum0, scratch) / samples, mean1 = block_sum(sum1, scratch) / samples;
    double reach = 1e-12;
    for (int t = threadIdx.x; t < samples; t += blockDim.x)
        reach = max(reach, max(fabs(down[t] - mean0), fabs(right[t] - mean1)));
    reach = block_max(reach, scratch);
    double shift0 = shift[2 * psf], shift1 = shift[2 * psf + 1], middle = size / 2;
    double room = min(middle + min(shift0, shift1), size - 1 - middle - max(shift0, shift1)) * (1 - 1e-6);
    double scale = extent[psf] > 0 ? min(extent[psf] / 2, room) / reach : 0;
    for (int t = threadIdx.x; t < samples; t += blockDim.x) {
        down[t] = scale * (down[t] - mean0) + middle + shift0;
        right[t] = scale * (right[t] - mean1) + middle + shift1;
    }
}

// PSF of a path on the grid: bilinear, smoothed by [side, centre, side] in both directions unless the camera is held
// still, small taps dropped, sum 1. One PSF per block of 256 threads; a thread owns pixels and looks at all positions.
// grid (count, size, size) is memory to work in.
extern "C" __global__ void splat(
    const double *__restrict__ path, const double *__restrict__ extent, int size, int samples, float side, float centre,
    float smallest, float *__restrict__ grid, float *__restrict__ psfs) {
    __shared__ int row[256], column[256];
    __shared__ float below[256], right[256], scratch[256];
    long long pixels = (long long)size * size;
    const double *own = path + 2LL * blockIdx.x * samples;
    float *light = grid + blockIdx.x * pixels, *psf = psfs + blockIdx.x * pixels;
    for (int start = 0; start < samples; start += 256) {
        int t = start + threadIdx.x;
        __syncthreads();
        if (t < samples) {
            double y = own[t], x = own[samples + t];
            row[threadIdx.x] = (int)y;
            column[threadIdx.x] = (int)x;
            below[threadIdx.x] = (float)(y - (int)y);
            right[threadIdx.x] = (float)(x - (int)x);
        }
        __syncthreads();
        for (long long p = threadIdx.x; p < pixels; p += blockDim.x) {
            int i = p / size, j = p % size;
            float sum = start ? light[p] : 0.0f;
            for (int k = 0; k < min(256, samples - start); k++) {
                int di = i - row[k], dj = j - column[k];
                if ((di == 0 || di == 1) && (dj == 0 || dj == 1))
                    sum += (di ? below[k] : 1.0f - below[k]) * (dj ? right[k] : 1.0f - right[k]);
            }
            light[p] = sum;
        }
    }
    __syncthreads();
    bool still = extent[blockIdx.x] <= 0;
    float total = 0;
    for (long long p = threadIdx.x; p < pixels; p += blockDim.x) {
        int i = p / size, j = p % size;
        float value = light[p];
        if (!still) {
            value = 0;
            for (int u = max(0, i - 1); u <= min(size - 1, i + 1); u++) {
                const float *line = light + (long long)u * size;
                float across = centre * line[j];
                if (j > 0) across += side * line[j - 1];
                if (j < size - 1) across += side * line[j + 1];
                value += (u == i ? centre : side) * across;
            }
        }
        psf[p] = value;
        total += value;
    }
    total = block_sum(total, scratch);
    float kept = 0;
    for (long long p = threadIdx.x; p < pixels; p += blockDim.x) {
        if (psf[p] < smallest * total) psf[p] = 0;
        kept += psf[p];
    }
    kept = block_sum(kept, scratch);
    for (long long p = threadIdx.x; p < pixels; p += blockDim.x) psf[p] /= kept;
}
