// Sums of small images (count, k, k), each shifted by its own fraction of a pixel. One thread per pixel of a sum.
extern "C" __global__ void shifted_sum(
    const REAL *__restrict__ images, long long count, long long k, const int *__restrict__ places,
    const REAL *__restrict__ weights, long long sums, REAL *__restrict__ out) {
    long long n = THREAD_X;
    if (n >= sums * k * k) return;
    long long t = n / (k * k), i = n / k % k, j = n % k;
    REAL sum = 0;
    for (long long s = 0; s < count; s++) {
        const int *place = places + (t * count + s) * 2;
        const REAL *image = images + s * k * k, *weight = weights + (t * count + s) * 4;
        for (int u = 0; u < 2; u++) {
            long long row = i + place[0] + u;
            if (row < 0 || row >= k) continue;
            for (int v = 0; v < 2; v++) {
                long long column = j + place[1] + v;
                if (column >= 0 && column < k) sum += weight[2 * u + v] * image[row * k + column];
            }
        }
    }
    out[n] = sum;
}
