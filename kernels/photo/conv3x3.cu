// 3x3 convolutions of images whose channels lie together. A warp holds the output channels of one pixel: what it reads
// of the image is the same for all its threads, and the weights lie side by side.

// y = bias + sum_rsc x[b, i + r, j + s, c] w[r, s, c, m], not below 0 if rectify; one thread per output.
extern "C" __global__ void conv3x3(const REAL *x, const REAL *weight, const REAL *bias, long long batch, long long height,
                                   long long width, int channels, int outputs, int rectify, REAL *y) {
    long long pixel = (long long)blockIdx.x * blockDim.y + threadIdx.y;  // of the output
    int m = threadIdx.x;
    if (pixel >= batch * height * width || m >= outputs) return;
    long long j = pixel % width, i = pixel / width % height, b = pixel / width / height;
    REAL sum = bias[m];
    for (int r = 0; r < 3; r++) {
        const REAL *row = x + ((b * (height + 2) + i + r) * (width + 2) + j) * channels;
        const REAL *w = weight + (long long)r * 3 * channels * outputs + m;
        for (int k = 0; k < 3 * channels; k++) sum += row[k] * w[(long long)k * outputs];
    }
    y[pixel * outputs + m] = rectify && sum < 0 ? 0 : sum;
}

// dw[r, s, c, m] = sum_bij x[b, i + r, j + s, c] dy[b, i, j, m]; one block per r, s, c, in stripes of pixels.
extern "C" __global__ void conv3x3_weights_backward(const REAL *dy, const REAL *x, long long batch, long long height,
                                                    long long width, int channels, int outputs, REAL *dweight) {
    __shared__ REAL parts[STRIPES][32];
    int tap = blockIdx.x / channels, c = blockIdx.x % channels, m = threadIdx.x;
    long long r = tap / 3, s = tap % 3;
    REAL sum = 0;
    if (m < outputs)
        for (long long pixel = threadIdx.y; pixel < batch * height * width; pixel += STRIPES) {
            long long j = pixel % width, i = pixel / width % height, b = pixel / width / height;
            sum += x[((b * (height + 2) + i + r) * (width + 2) + j + s) * channels + c] * dy[pixel * outputs + m];
        }
    parts[threadIdx.y][m] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && m < outputs) {
        for (int k = 1; k < STRIPES; k++) sum += parts[k][m];
        dweight[(long long)blockIdx.x * outputs + m] = sum;
    }
}
