// Training crops out of 8-bit photographs that lie one after the other, a block of 256 threads for each.

// Of some places, the first one where at least `least` pixels have a horizontal step of `threshold` levels, and as many
// a vertical one, or else the one where most have; its levels through a table, mirrored and transposed.
extern "C" __global__ void __launch_bounds__(256) cut_crops(
    const unsigned char *__restrict__ levels, const long long *__restrict__ start, const long long *__restrict__ pitch,
    int places, int side, int threshold, int least, const int *__restrict__ transform, const REAL *__restrict__ table,
    REAL *__restrict__ crops) {
    __shared__ int scratch[256];
    long long b = blockIdx.x, first = 0, across = 0;
    int most = -1;
    for (int t = 0; t < places && most < least; t++) {
        long long p = pitch[b * places + t];
        const unsigned char *crop = levels + start[b * places + t];
        int horizontal = 0, vertical = 0;
        for (int n = threadIdx.x; n < side * side; n += blockDim.x) {
            int i = n / side, j = n % side, here = crop[i * p + j];
            if (j < side - 1 && abs(crop[i * p + j + 1] - here) >= threshold) horizontal++;
            if (i < side - 1 && abs(crop[(i + 1) * p + j] - here) >= threshold) vertical++;
        }
        horizontal = block_sum(horizontal, scratch);
        vertical = block_sum(vertical, scratch);
        int count = min(horizontal, vertical);
        if (count > most) {
            most = count;
            first = start[b * places + t];
            across = p;
        }
    }
    int turn = transform[b];
    REAL *out = crops + b * side * side;
    for (int n = threadIdx.x; n < side * side; n += blockDim.x) {
        int row = turn & 4 ? n % side : n / side, column = turn & 4 ? n / side : n % side;
        if (turn & 1) row = side - 1 - row;
        if (turn & 2) column = side - 1 - column;
        out[n] = table[levels[first + row * across + column]];
    }
}
