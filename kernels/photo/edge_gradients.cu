// The steps of half-quadratic splitting between two transforms. One thread per pixel, or per frequency.

// The difference to the next pixel down (x) and across (y), zero where there is no edge; borders are periodic.
__device__ inline COMPLEX kept(
    const REAL *__restrict__ image, long long height, long long width, long long i, long long j, REAL threshold) {
    REAL here = image[i * width + j];
    REAL down = image[(i + 1 < height ? i + 1 : 0) * width + j] - here;
    REAL across = image[i * width + (j + 1 < width ? j + 1 : 0)] - here;
    return down * down + across * across > threshold ? complex_of(down, across) : complex_of(0, 0);
}

// Adjoint of the differences, of the gradients that are kept.
extern "C" __global__ void edge_divergence(
    const REAL *__restrict__ image, long long height, long long width, REAL threshold, REAL *__restrict__ out) {
    long long n = THREAD_X;
    if (n >= height * width) return;
    long long i = n / width, j = n % width;
    COMPLEX here = kept(image, height, width, i, j, threshold);
    COMPLEX above = kept(image, height, width, i > 0 ? i - 1 : height - 1, j, threshold);
    COMPLEX left = kept(image, height, width, i, j > 0 ? j - 1 : width - 1, threshold);
    out[n] = above.x - here.x + left.y - here.y;
}

// out[0] and out[1]: differences down and across.
extern "C" __global__ void kept_gradients(
    const REAL *__restrict__ image, long long height, long long width, REAL threshold, REAL *__restrict__ out) {
    long long n = THREAD_X;
    if (n >= height * width) return;
    COMPLEX here = kept(image, height, width, n / width, n % width, threshold);
    out[n] = here.x;
    out[height * width + n] = here.y;
}

// (data + b divergence) / (power + b (rows + columns)) on a half spectrum of height x half.
extern "C" __global__ void latent_spectrum(
    const COMPLEX *__restrict__ data, const COMPLEX *__restrict__ divergence, const REAL *__restrict__ power,
    const REAL *__restrict__ rows, const REAL *__restrict__ columns, REAL coupling, long long height, long long half,
    COMPLEX *__restrict__ out) {
    long long n = THREAD_X;
    if (n >= height * half) return;
    COMPLEX above = add(data[n], scale(coupling, divergence[n]));
    REAL below = power[n] + coupling * (rows[n / half] + columns[n % half]);
    out[n] = complex_of(above.x / below, above.y / below);
}
