// What stands between the transforms of a window's latent image, one pass over memory each.

// Expectation of the latent image, and the expected power of its gradients' errors. One thread per frequency.
extern "C" __global__ void expected_spectra(
    const COMPLEX *__restrict__ data, const REAL *__restrict__ power, const REAL *__restrict__ gradient_power,
    const REAL *__restrict__ prior, REAL variance, long long size, COMPLEX *__restrict__ sharp_hat,
    COMPLEX *__restrict__ uncertain_hat) {
    long long f = THREAD_X;
    if (f >= size) return;
    REAL noise = variance * gradient_power[f];
    REAL inverse = REAL(1) / (power[f] + noise / prior[f]);
    sharp_hat[f] = scale(inverse, data[f]);
    uncertain_hat[f] = complex_of(noise * inverse, 0);
}

// Differences down (out[n, 0]) and across (out[n, 1]) times a window of height x width, zero in the rest of the grid
// of below x beside. One thread per place of the grid; images of tall x wide along y of the launch.
extern "C" __global__ void faded_gradients(
    const REAL *__restrict__ images, long long count, long long tall, long long wide, const REAL *__restrict__ down,
    const REAL *__restrict__ across, long long height, long long width, long long below, long long beside,
    REAL *__restrict__ out) {
    long long place = THREAD_X, size = below * beside;
    if (place >= size) return;
    long long i = place / beside, j = place % beside;
    bool inside = i < height && j < width;
    REAL window = inside ? down[i] * across[j] : REAL(0);
    for (long long n = blockIdx.y; n < count; n += gridDim.y) {
        const REAL *image = images + n * tall * wide;
        REAL here = inside ? image[i * wide + j] : REAL(0);
        out[2 * n * size + place] = inside ? (image[(i + 1) * wide + j] - here) * window : REAL(0);
        out[(2 * n + 1) * size + place] = inside ? (image[i * wide + j + 1] - here) * window : REAL(0);
    }
}
