// What JPEG does to grey images: 8 x 8 cosine transform, quantisation, and back.

// cos(m pi / 16) / 2
__constant__ REAL HALF_COSINES[9] = {
    REAL(0.5), REAL(0.49039264020161522), REAL(0.46193976625564337), REAL(0.41573480615127262),
    REAL(0.35355339059327376), REAL(0.27778511650980114), REAL(0.19134171618254492), REAL(0.09754516100806417), REAL(0)};

// Luminance quantisation table of ITU-T T.81, Annex K.1, for quality 50.
__constant__ unsigned char LUMINANCE_TABLE[64] = {
    16, 11, 10, 16, 24,  40,  51,  61,  12, 12, 14, 19, 26,  58,  60,  55,
    14, 13, 16, 24, 40,  57,  69,  56,  14, 17, 22, 29, 51,  87,  80,  62,
    18, 22, 37, 56, 68,  109, 103, 77,  24, 35, 55, 64, 81,  104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99};

// Orthonormal 8-point cosine transform: frequency k, sample n.
__device__ inline REAL cosine(int k, int n) {
    if (k == 0) return HALF_COSINES[4];
    int m = k * (2 * n + 1) % 32;
    if (m > 16) m = 32 - m;
    return m > 8 ? -HALF_COSINES[16 - m] : HALF_COSINES[m];
}

// Four 8 x 8 blocks of images (count, height, width) per block of 8 x 8 x 4 threads; strips and columns say how many
// there are in an image, whatever its offset in the grid. out may be images: no block reads what another one writes.
extern "C" __global__ void jpeg_blocks(
    const REAL *images, const double *__restrict__ quality, const long long *__restrict__ offset, long long count,
    long long height, long long width, long long strips, long long columns, REAL *out) {
    __shared__ REAL basis[8][8];
    __shared__ REAL a[4][8][9], b[4][8][9];  // rows of 9, so that columns lie in different banks
    int i = threadIdx.y, j = threadIdx.x, slot = threadIdx.z;
    long long block = (long long)blockIdx.x * 4 + slot, image = block / (strips * columns);
    bool inside = image < count;
    long long y = 0, x = 0;
    REAL step = 1, original = 0;
    bool compressed = false;
    if (slot == 0) basis[i][j] = cosine(i, j);
    if (inside) {
        long long left = offset[2 * image + 1], top = offset[2 * image];
        y = block / columns % strips * 8 + i - top;
        x = block % columns * 8 + j - left;
        // Incomplete blocks are filled with the border's values, which lie in the same block.
        original = images[(image * height + min(max(y, 0LL), height - 1)) * width + min(max(x, 0LL), width - 1)];
        inside = y >= 0 && y < height && x >= 0 && x < width;
        compressed = quality[image] > 0;
        int whole = (int)min(max(quality[image], 1.0), 100.0);
        int percent = whole < 50 ? 5000 / whole : 200 - 2 * whole;
        step = REAL(min(max((LUMINANCE_TABLE[8 * i + j] * percent + 50) / 100, 1), 255));
    }
    a[slot][i][j] = floor(original * 255 + REAL(0.5)) - 128;
    __syncthreads();
    REAL sum = 0;
    for (int k = 0; k < 8; k++) sum += basis[i][k] * a[slot][k][j];
    b[slot][i][j] = sum;
    __syncthreads();
    sum = 0;
    for (int k = 0; k < 8; k++) sum += b[slot][i][k] * basis[j][k];
    a[slot][i][j] = floor(sum / step + REAL(0.5)) * step;
    __syncthreads();
    sum = 0;
    for (int k = 0; k < 8; k++) sum += basis[k][i] * a[slot][k][j];
    b[slot][i][j] = sum;
    __syncthreads();
    sum = 0;
    for (int k = 0; k < 8; k++) sum += b[slot][i][k] * basis[k][j];
    REAL value = min(max(floor(sum + REAL(0.5)) + 128, REAL(0)), REAL(255)) / 255;
    if (inside) out[(image * height + y) * width + x] = compressed ? value : original;
}
