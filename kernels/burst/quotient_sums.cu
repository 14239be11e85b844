// Sums of the multi-frame quotient of a window: transforms of small PSFs at every frequency, times the frames' spectra.

// rows (N, k, width): each row of the PSFs (N, k, k) at the horizontal frequencies. One thread per element.
extern "C" __global__ void psf_rows(
    const REAL *__restrict__ psfs, long long total, long long side, long long width, const COMPLEX *__restrict__ across,
    COMPLEX *__restrict__ rows) {
    long long t = THREAD_X;
    if (t >= total) return;
    const REAL *row = psfs + t / width * side;
    COMPLEX sum = complex_of(0, 0);
    for (long long j = 0; j < side; j++) sum = add(sum, scale(row[j], across[j * width + t % width]));
    rows[t] = sum;
}

// data and power (height, width) of all frames. One thread per frequency; y lies in strips of LANES columns.
extern "C" __global__ void sum_frames(
    const COMPLEX *__restrict__ rows, const REAL *__restrict__ y, long long frames, long long side, long long height,
    long long width, long long strips, const COMPLEX *__restrict__ down, COMPLEX *__restrict__ data,
    REAL *__restrict__ power) {
    long long f = THREAD_X;
    if (f >= height * width) return;
    long long z = f / width, x = f % width;
    COMPLEX numerator = complex_of(0, 0);
    REAL denominator = 0;
    for (long long n = 0; n < frames; n++) {
        COMPLEX otf = complex_of(0, 0);
        for (long long i = 0; i < side; i++)
            otf = add(otf, multiply(down[i * height + z], rows[(n * side + i) * width + x]));
        const REAL *here = y + (((n * strips + x / LANES) * height + z) * 2) * LANES + x % LANES;
        numerator = add(numerator, multiply_conj(otf, complex_of(here[0], here[LANES])));
        denominator += square_abs(otf);
    }
    data[f] = numerator;
    power[f] = denominator;
}
