// The tanh between the recombinations of the network's hidden images, and its backward, in place. One thread per value.

extern "C" __global__ void tanh_rows(
    REAL *__restrict__ values, const REAL *__restrict__ bias, long long units, long long total) {
    long long n = THREAD_X;
    if (n < total) values[n] = tanh(values[n] + bias[n % units]);
}

extern "C" __global__ void tanh_rows_backward(
    REAL *__restrict__ dvalues, const REAL *__restrict__ values, long long total) {
    long long n = THREAD_X;
    if (n < total) dvalues[n] *= REAL(1) - values[n] * values[n];
}
