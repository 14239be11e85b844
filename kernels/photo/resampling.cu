// Weighted sums of gathered columns, or of gathered rows, of images. One thread per pixel of the result; neighbours
// across belong to neighbouring threads.

// y[.., j] = sum over t of weights[t, j] x[.., indices[t, j]] for images whose rows are `width` long, `size` in y.
extern "C" __global__ void gathered_columns(
    const REAL *__restrict__ x, const long long *__restrict__ indices, const REAL *__restrict__ weights, long long taps,
    long long width, long long size, long long total, REAL *__restrict__ y) {
    long long n = THREAD_X;
    if (n >= total) return;
    long long j = n % size;
    const REAL *row = x + n / size * width;
    REAL sum = 0;
    for (long long t = 0; t < taps; t++) sum += weights[t * size + j] * row[indices[t * size + j]];
    y[n] = sum;
}

// y[m, i, j] = sum over t of weights[t, i] x[m, indices[t, i], j] for images of height x width, `size` rows in y.
extern "C" __global__ void gathered_rows(
    const REAL *__restrict__ x, const long long *__restrict__ indices, const REAL *__restrict__ weights, long long taps,
    long long height, long long width, long long size, long long total, REAL *__restrict__ y) {
    long long n = THREAD_X;
    if (n >= total) return;
    long long i = n / width % size;
    const REAL *column = x + n / width / size * height * width + n % width;
    REAL sum = 0;
    for (long long t = 0; t < taps; t++) sum += weights[t * size + i] * column[indices[t * size + i] * width];
    y[n] = sum;
}
