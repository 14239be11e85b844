// The two magnitudes in the middle of many numbers, eight bits after eight from the first ones on: non-negative
// numbers are in the order of their bits. Counts are whole numbers, whose sum does not depend on the order.

#define DIGITS 256

// The bits of the n-th number without its sign, from its one or two words of 32 bits.
__device__ inline unsigned long long magnitude(const unsigned int *__restrict__ words, long long n) {
    if (sizeof(REAL) == 4) return words[n] & 0x7fffffffu;
    return (unsigned long long)(words[2 * n + 1] & 0x7fffffffu) << 32 | words[2 * n];
}

// counts[k, d]: how many numbers begin with the bits found[k] and go on with d, `shift` bits being left behind that.
// Blocks of DIGITS threads, each for `each` numbers a thread.
extern "C" __global__ void count_digits(
    const unsigned int *__restrict__ words, long long size, int each, int shift, const long long *__restrict__ found,
    unsigned int *__restrict__ counts) {
    __shared__ unsigned int own[2][DIGITS];
    own[0][threadIdx.x] = own[1][threadIdx.x] = 0;
    __syncthreads();
    unsigned long long first[2] = {(unsigned long long)found[0], (unsigned long long)found[1]};
    for (int i = 0; i < each; i++) {
        long long n = ((long long)blockIdx.x * each + i) * DIGITS + threadIdx.x;
        if (n >= size) break;
        unsigned long long bits = magnitude(words, n) >> shift;
        for (int k = 0; k < 2; k++)
            if (bits / DIGITS == first[k]) atomicAdd(&own[k][bits % DIGITS], 1u);
    }
    __syncthreads();
    for (int k = 0; k < 2; k++)
        if (own[k][threadIdx.x]) atomicAdd(&counts[k * DIGITS + threadIdx.x], own[k][threadIdx.x]);
}

// The digit of the place-th number goes behind what is found of it, the place counts within those that begin like it,
// and the counts are zero again. One block of DIGITS threads.
extern "C" __global__ void choose_digit(
    unsigned int *__restrict__ counts, long long *__restrict__ found, long long *__restrict__ place) {
    __shared__ unsigned int own[DIGITS];
    for (int k = 0; k < 2; k++) {
        own[threadIdx.x] = counts[k * DIGITS + threadIdx.x];
        counts[k * DIGITS + threadIdx.x] = 0;
        long long wanted = place[k], before = 0;
        __syncthreads();
        for (int d = 0; d < threadIdx.x; d++) before += own[d];
        if (before <= wanted && wanted < before + own[threadIdx.x]) {  // so it is for one digit
            found[k] = found[k] * DIGITS + threadIdx.x;
            place[k] = wanted - before;
        }
        __syncthreads();
    }
}
