// A row of overlapping patches, weighed with a window, added to a picture. One thread per pixel of the strip that the
// patches cover, columns along x, rows along y: it gathers from every patch that covers it.
extern "C" __global__ void overlap_add(
    REAL *__restrict__ picture, long long width, const REAL *__restrict__ patches, long long count,
    const REAL *__restrict__ window, long long side, long long top, long long left, long long step) {
    long long x = THREAD_X, y = blockIdx.y;
    if (x >= (count - 1) * step + side) return;
    long long first = x < side ? 0 : (x - side) / step + 1;
    long long last = min(x / step, count - 1);
    REAL sum = 0;
    for (long long p = first; p <= last; p++) {
        long long place = y * side + x - p * step;
        sum += window[place] * patches[p * side * side + place];
    }
    if (first <= last) picture[(top + y) * width + left + x] += sum;
}
