// Blurred, noisy frames of a burst. Frames of all bursts are numbered one after the other, `frame`.
#include "counter_random.cu"

// The taps of a PSF that are not zero, in order: where they lie in an image of width `width` (true convolution), their
// weights, and how many they are. One block of 256 threads per frame; each takes a stretch of the taps.
extern "C" __global__ void tap_list(
    const REAL *__restrict__ psfs, int side, int width, int *__restrict__ places, REAL *__restrict__ weights,
    int *__restrict__ counts) {
    __shared__ int found[256];
    int taps = side * side, stretch = (taps + 255) / 256;
    int start = min(taps, (int)threadIdx.x * stretch), stop = min(taps, start + stretch);
    const REAL *psf = psfs + (long long)blockIdx.x * taps;
    int own = 0;
    for (int t = start; t < stop; t++) own += psf[t] != 0;
    found[threadIdx.x] = own;
    __syncthreads();
    int place = 0;
    for (int k = 0; k < threadIdx.x; k++) place += found[k];
    if (threadIdx.x == 255) counts[blockIdx.x] = place + own;
    long long base = (long long)blockIdx.x * taps + place;
    for (int t = start; t < stop; t++) {
        if (psf[t] == 0) continue;
        places[base] = (side - 1 - t / side) * width + side - 1 - t % side;
        weights[base++] = psf[t];
    }
}

// Valid true convolution of sharp images (bursts, size, size) with the taps: blurred (bursts * frames, out, out).
// A block of 32 x 8 threads makes 32 x 32 pixels, each thread four below each other; `tiles` of them along a side.
extern "C" __global__ void convolve(
    const REAL *__restrict__ sharp, const int *__restrict__ places, const REAL *__restrict__ weights,
    const int *__restrict__ counts, int frames, int size, int taps, int out, int tiles, REAL *__restrict__ blurred) {
    __shared__ int place[256];
    __shared__ REAL weight[256];
    long long frame = blockIdx.x / (tiles * tiles);
    int tile = blockIdx.x % (tiles * tiles);
    int x = tile % tiles * 32 + threadIdx.x, y = tile / tiles * 32 + threadIdx.y;
    int thread = threadIdx.y * 32 + threadIdx.x, count = counts[frame];
    const REAL *image = sharp + frame / frames * size * size;
    REAL sum[4] = {0, 0, 0, 0};
    int from[4];
    for (int r = 0; r < 4; r++) from[r] = min(y + 8 * r, out - 1) * size + min(x, out - 1);
    for (int start = 0; start < count; start += 256) {
        __syncthreads();
        if (start + thread < count) {
            place[thread] = places[frame * taps + start + thread];
            weight[thread] = weights[frame * taps + start + thread];
        }
        __syncthreads();
        for (int t = 0; t < min(256, count - start); t++)
            for (int r = 0; r < 4; r++) sum[r] += weight[t] * image[from[r] + place[t]];
    }
    for (int r = 0; r < 4; r++)
        if (x < out && y + 8 * r < out) blurred[(frame * out + y + 8 * r) * out + x] = sum[r];
}

// White Gaussian noise (frames, side, side); the two numbers of a pair lie half a row apart. One thread per pair.
extern "C" __global__ void noise_field(
    const unsigned int *__restrict__ keys, const REAL *__restrict__ read, const REAL *__restrict__ shot,
    long long frames, int side, float *__restrict__ noise) {
    long long half = (side + 1) / 2, pair = THREAD_X;
    if (pair >= side * half) return;
    int y = pair / half, x = pair % half;
    for (long long frame = blockIdx.y; frame < frames; frame += gridDim.y) {
        if (read[frame] <= 0 && shot[frame] <= 0) continue;
        float2 normal = normal_pair((unsigned int)pair, keys[2 * frame], keys[2 * frame + 1]);
        float *row = noise + (frame * side + y) * side;
        row[x] = normal.x;
        if (x + half < side) row[x + half] = normal.y;
    }
}

// Noise at a pixel, smoothed periodically by [grain, 1, grain] along rows and columns at the same variance.
__device__ inline float grained(const float *noise, int side, int y, int x, float grain) {
    if (grain <= 0) return noise[(long long)y * side + x];
    float sum = 0;
    for (int u = -1; u <= 1; u++) {
        const float *row = noise + (long long)((y + u + side) % side) * side;
        sum += (u ? grain : 1.0f) * (row[x] + grain * (row[(x + side - 1) % side] + row[(x + 1) % side]));
    }
    return sum / (1.0f + 2.0f * grain * grain);
}

// Value at d from the pixels at -1, 0, 1, by the parabola through them.
__device__ inline REAL parabola(REAL d, REAL before, REAL here, REAL after) {
    return d * (d - 1) / 2 * before + (1 - d * d) * here + d * (d + 1) / 2 * after;
}

// Rotation (if angle is not null; blurred is then larger by a border of one pixel), gain, noise, clipping, sRGB curve.
// One thread per pixel; pixels of a frame along x.
extern "C" __global__ void expose(
    const REAL *__restrict__ blurred, const float *__restrict__ noise, const REAL *__restrict__ angle,
    const REAL *__restrict__ gain, const REAL *__restrict__ read, const REAL *__restrict__ shot,
    const REAL *__restrict__ grain, long long frames, int side, int clip, int srgb, REAL *__restrict__ out) {
    long long pixel = THREAD_X;
    if (pixel >= (long long)side * side) return;
    int y = pixel / side, x = pixel % side;
    for (long long frame = blockIdx.y; frame < frames; frame += gridDim.y) {
        REAL value;
        if (angle) {
            const REAL *image = blurred + frame * (side + 2) * (side + 2);
            REAL middle = REAL(side - 1) / 2, sheared[3];
            for (int u = 0; u < 3; u++) {
                const REAL *row = image + (long long)(y + u) * (side + 2) + x;
                sheared[u] = parabola(-angle[frame] * (REAL(y + u - 1) - middle), row[0], row[1], row[2]);
            }
            value = parabola(angle[frame] * (REAL(x) - middle), sheared[0], sheared[1], sheared[2]);
        } else {
            value = blurred[frame * side * side + pixel];
        }
        value *= gain[frame];
        if (read[frame] > 0 || shot[frame] > 0) {
            REAL deviation = sqrt(read[frame] + shot[frame] * max(value, REAL(0)));
            value += deviation * grained(noise + frame * side * side, side, y, x, (float)grain[frame]);
        }
        if (clip) value = min(max(value, REAL(0)), REAL(1));
        if (srgb)
            value = value <= REAL(0.0031308) ? value * REAL(12.92)
                                             : REAL(1.055) * pow(value, REAL(1 / 2.4)) - REAL(0.055);
        out[frame * side * side + pixel] = value;
    }
}
