// The filters of the single-photo network and their gradients: what stands beside the transforms of whole images.

// out[p, q] = sum over r of a[p, r] b[q, r], or of a[p, r] conj(b[q, r]), spectra of `size` numbers. The strides say how
// many spectra lie between neighbours. One thread per frequency; pairs (p, q) along y of the launch.
extern "C" __global__ void spectrum_products(
    const COMPLEX *__restrict__ a, const COMPLEX *__restrict__ b, long long rows, long long columns, long long terms,
    long long stride_p, long long stride_ar, long long stride_q, long long stride_br, int conjugate, long long size,
    COMPLEX *__restrict__ out) {
    long long f = THREAD_X;
    if (f >= size) return;
    for (long long n = blockIdx.y; n < rows * columns; n += gridDim.y) {
        const COMPLEX *left = a + n / columns * stride_p * size + f, *right = b + n % columns * stride_q * size + f;
        COMPLEX sum = complex_of(0, 0);
        for (long long r = 0; r < terms; r++) {
            COMPLEX x = left[r * stride_ar * size], y = right[r * stride_br * size];
            sum = add(sum, conjugate ? multiply_conj(y, x) : multiply(x, y));
        }
        out[n * size + f] = sum;
    }
}

// The two kernels below turn images (count, filters, tall, wide) into pixels (count, height, width, filters), those from
// row and column `first` on, and back. A block of TILE x TILE_ROWS threads takes TILE columns of a row and TILE filters
// through shared memory, so that neighbouring threads read neighbours and write neighbours. Columns run along x of the
// launch, rows of all images along y, filters along z.

// pixels = tanh(images + bias)
extern "C" __global__ void biased_tanh(
    const REAL *__restrict__ images, const REAL *__restrict__ bias, long long count, long long filters, long long tall,
    long long wide, long long first, REAL *__restrict__ pixels) {
    __shared__ REAL tile[TILE][TILE + 1];
    long long height = tall - first, width = wide - first, left = (long long)blockIdx.x * TILE;
    long long bottom = (long long)blockIdx.z * TILE;
    for (long long row = blockIdx.y; row < count * height; row += gridDim.y) {
        long long n = row / height, i = first + row % height, j = left + threadIdx.x;
        for (int k = threadIdx.y; k < TILE; k += TILE_ROWS) {
            long long m = bottom + k;
            if (m < filters && j < width)
                tile[k][threadIdx.x] = tanh(images[((n * filters + m) * tall + i) * wide + first + j] + bias[m]);
        }
        __syncthreads();
        long long m = bottom + threadIdx.x;
        for (int k = threadIdx.y; k < TILE; k += TILE_ROWS)
            if (m < filters && left + k < width) pixels[(row * width + left + k) * filters + m] = tile[threadIdx.x][k];
        __syncthreads();
    }
}

// images = pixels, zero in the rows and columns before `first`
extern "C" __global__ void pixels_to_images(
    const REAL *__restrict__ pixels, long long count, long long filters, long long tall, long long wide,
    long long first, REAL *__restrict__ images) {
    __shared__ REAL tile[TILE][TILE + 1];
    long long height = tall - first, width = wide - first, left = (long long)blockIdx.x * TILE;
    long long bottom = (long long)blockIdx.z * TILE;
    for (long long row = blockIdx.y; row < count * tall; row += gridDim.y) {
        long long n = row / tall, i = row % tall, m = bottom + threadIdx.x;
        for (int k = threadIdx.y; k < TILE; k += TILE_ROWS) {
            long long j = left + k;
            bool inside = i >= first && j >= first && j < wide && m < filters;
            long long pixel = (n * height + i - first) * width + j - first;
            tile[k][threadIdx.x] = inside ? pixels[pixel * filters + m] : REAL(0);
        }
        __syncthreads();
        long long j = left + threadIdx.x;
        for (int k = threadIdx.y; k < TILE; k += TILE_ROWS)
            if (bottom + k < filters && j < wide)
                images[((n * filters + bottom + k) * tall + i) * wide + j] = tile[threadIdx.x][k];
        __syncthreads();
    }
}

// The tanh after the recombinations of the hidden images, and its backward, in place. One thread per value.
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
