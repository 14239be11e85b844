// Divergence of the gradients of an image, shrunk by a function in a table. One thread per pixel.

__device__ inline REAL shrunk(
    REAL v, const REAL *__restrict__ table, long long size, REAL scale, REAL inverse, REAL threshold, REAL resolution) {
    REAL place = ((v < 0 ? -v : v) * inverse - threshold) * resolution;
    if (place < 0) return REAL(0);
    long long first = place < REAL(size - 2) ? (long long)place : size - 2;
    REAL w = (table[first] + (place - REAL(first)) * (table[first + 1] - table[first])) * scale;
    return v < 0 ? -w : w;
}

extern "C" __global__ void table_shrinkage(
    const REAL *__restrict__ image, long long height, long long width, const REAL *__restrict__ table, long long size,
    REAL scale, REAL inverse, REAL threshold, REAL resolution, REAL *__restrict__ out) {
    long long n = THREAD_X;
    if (n >= height * width) return;
    long long i = n / width, j = n % width;
    REAL here = image[n];
    REAL above = image[(i > 0 ? i - 1 : height - 1) * width + j], below = image[(i + 1 < height ? i + 1 : 0) * width + j];
    REAL left = image[i * width + (j > 0 ? j - 1 : width - 1)], right = image[i * width + (j + 1 < width ? j + 1 : 0)];
    out[n] = shrunk(here - above, table, size, scale, inverse, threshold, resolution) -
             shrunk(below - here, table, size, scale, inverse, threshold, resolution) +
             shrunk(here - left, table, size, scale, inverse, threshold, resolution) -
             shrunk(right - here, table, size, scale, inverse, threshold, resolution);
}
