// Products of the spectra of feature images, summed over the images. One thread per frequency.

// out[0] = sum of |X_m|^2, complex numbers without an imaginary part, and out[1] = sum of conj(X_m) Y_m.
extern "C" __global__ void summed_products(
    const COMPLEX *__restrict__ x, const COMPLEX *__restrict__ y, long long images, long long size,
    COMPLEX *__restrict__ out) {
    long long f = THREAD_X;
    if (f >= size) return;
    REAL power = 0;
    COMPLEX cross = complex_of(0, 0);
    for (long long m = 0; m < images; m++) {
        COMPLEX here = x[m * size + f];
        power += square_abs(here);
        cross = add(cross, multiply_conj(here, y[m * size + f]));
    }
    out[f] = complex_of(power, 0);
    out[size + f] = cross;
}
