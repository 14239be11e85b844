// The element-wise heart of the quotient layer (Schuler et al. 2015, Appendix A) and its backward.
// One thread per frequency and example; it reads the M pairs once. Blocks: frequencies along x, examples along y.

// z = sum_m conj(x_m) y_m / d, d = sum_m |x_m|^2 + beta; beta is (betas, size) with betas = 1 or batch.
extern "C" __global__ void quotient_spectrum(
    const COMPLEX *__restrict__ x_hat, const COMPLEX *__restrict__ y_hat, const REAL *__restrict__ beta, long long batch,
    long long pairs, long long size, long long betas, COMPLEX *__restrict__ z_hat, REAL *__restrict__ denominator) {
    long long f = THREAD_X;
    if (f >= size) return;
    for (long long b = blockIdx.y; b < batch; b += gridDim.y) {
        REAL d = beta[(betas == 1 ? 0 : b) * size + f];
        COMPLEX q = complex_of(0, 0);
        for (long long m = 0; m < pairs; m++) {
            COMPLEX x = x_hat[(b * pairs + m) * size + f], y = y_hat[(b * pairs + m) * size + f];
            d += square_abs(x);
            q = add(q, multiply_conj(x, y));
        }
        z_hat[b * size + f] = complex_of(q.x / d, q.y / d);
        denominator[b * size + f] = d;
    }
}

// With dq = dz / d and dd = -Re(conj(dz) z) / d: dx_m = conj(dq) y_m + 2 dd x_m, dy_m = dq x_m (if dy_hat is not
// null), dbeta = dd.
extern "C" __global__ void quotient_spectrum_backward(
    const COMPLEX *__restrict__ dz_hat, const COMPLEX *__restrict__ x_hat, const COMPLEX *__restrict__ y_hat,
    const COMPLEX *__restrict__ z_hat, const REAL *__restrict__ denominator, long long batch, long long pairs,
    long long size, COMPLEX *__restrict__ dx_hat, COMPLEX *__restrict__ dy_hat, REAL *__restrict__ dbeta) {
    long long f = THREAD_X;
    if (f >= size) return;
    for (long long b = blockIdx.y; b < batch; b += gridDim.y) {
        REAL d = denominator[b * size + f];
        COMPLEX dz = dz_hat[b * size + f], z = z_hat[b * size + f];
        COMPLEX dq = complex_of(dz.x / d, dz.y / d);
        REAL dd = -(dz.x * z.x + dz.y * z.y) / d;
        dbeta[b * size + f] = dd;
        for (long long m = 0; m < pairs; m++) {
            long long i = (b * pairs + m) * size + f;
            COMPLEX x = x_hat[i];
            dx_hat[i] = add(multiply_conj(dq, y_hat[i]), scale(2 * dd, x));
            if (dy_hat) dy_hat[i] = multiply(dq, x);
        }
    }
}
