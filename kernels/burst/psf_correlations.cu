// Correlations of two sharp gradients with those of every frame, at small lags, from their spectra.

// out (N, side, width): the inverse transform along the columns. One thread per element; y lies in strips of LANES columns.
extern "C" __global__ void lag_columns(
    const COMPLEX *__restrict__ x_hat, const REAL *__restrict__ y, long long total, long long side, long long height,
    long long width, long long strips, const COMPLEX *__restrict__ down, COMPLEX *__restrict__ out) {
    long long t = THREAD_X;
    if (t >= total) return;
    long long x = t % width, i = t / width % side, n = t / width / side;
    COMPLEX sum = complex_of(0, 0);
    for (long long z = 0; z < height; z++) {
        COMPLEX both = complex_of(0, 0);
        for (long long m = 0; m < 2; m++) {
            const REAL *here = y + ((((2 * n + m) * strips + x / LANES) * height + z) * 2) * LANES + x % LANES;
            both = add(both, multiply_conj(x_hat[(m * height + z) * width + x], complex_of(here[0], here[LANES])));
        }
        sum = add(sum, multiply(down[i * height + z], both));
    }
    out[t] = sum;
}

// out (N, side, side): along the rows, real parts. One thread per element.
extern "C" __global__ void lag_rows(
    const COMPLEX *__restrict__ columns, long long total, long long side, long long width,
    const COMPLEX *__restrict__ across, REAL *__restrict__ out) {
    long long t = THREAD_X;
    if (t >= total) return;
    const COMPLEX *row = columns + t / side * width;
    REAL sum = 0;
    for (long long x = 0; x < width; x++) sum += multiply(row[x], across[x * side + t % side]).x;
    out[t] = sum;
}
