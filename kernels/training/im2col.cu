// Neighbourhoods of a block of image rows as columns of a matrix, and the adjoint.
// One thread per element of the matrix's row or of the image's row; rows of the result are along y.

// columns[(c, u, v), (i, j)] = image[c, top + i + u, j + v]; taps is the number of rows (c, u, v)
extern "C" __global__ void im2col(
    const REAL *__restrict__ image, int taps, long long height, long long width, int kh, int kw, long long top,
    long long rows, REAL *__restrict__ columns) {
    long long across = width - kw + 1, length = rows * across, position = THREAD_X;
    if (position >= length) return;
    long long i = position / across, j = position % across;
    for (int n = blockIdx.y; n < taps; n += gridDim.y) {
        int v = n % kw, u = n / kw % kh;
        long long c = n / (kh * kw);
        columns[n * length + position] = image[(c * height + top + i + u) * width + j + v];
    }
}

// image[c, y, x] += sum over (u, v) of columns[(c, u, v), (y - top - u, x - v)], where that lies inside of the block
extern "C" __global__ void col2im(
    const REAL *__restrict__ columns, long long channels, long long height, long long width, int kh, int kw,
    long long top, long long rows, REAL *__restrict__ image) {
    long long across = width - kw + 1, below = rows + kh - 1, position = THREAD_X;
    if (position >= below * width) return;
    long long line = position / width, x = position % width;
    for (long long c = blockIdx.y; c < channels; c += gridDim.y) {
        REAL sum = image[(c * height + top + line) * width + x];
        for (int u = 0; u < kh; u++) {
            long long i = line - u;
            if (i < 0 || i >= rows) continue;
            for (int v = 0; v < kw; v++) {
                long long j = x - v;
                if (j >= 0 && j < across) sum += columns[(((c * kh + u) * kw + v) * rows + i) * across + j];
            }
        }
        image[(c * height + top + line) * width + x] = sum;
    }
}
