// Half spectra in strips of LANES columns: LANES real parts, then as many imaginary ones; zero beyond the last column.
// One thread per place of a strip.

extern "C" __global__ void to_strips(
    const COMPLEX *__restrict__ spectra, long long total, long long strips, long long height, long long width,
    REAL *__restrict__ out) {
    long long t = THREAD_X;
    if (t >= total) return;
    long long lane = t % LANES, row = t / LANES, i = row % height, strip = row / height % strips;
    long long n = row / height / strips, j = strip * LANES + lane;
    COMPLEX z = j < width ? spectra[(n * height + i) * width + j] : complex_of(0, 0);
    out[row * 2 * LANES + lane] = z.x;
    out[row * 2 * LANES + LANES + lane] = z.y;
}
