// Conjugate gradients on half spectra: what stands between the two transforms of a step. Inner products are sums over
// blocks of THREADS threads with EACH frequencies a thread, then over the blocks; they stay on the GPU.

// What a step takes from the sums: squared size of the preconditioned residual at first and now, length of the step,
// and the share of the last direction in the next one.
enum { FIRST, NOW, LENGTH, SHARE };

// How often a column is in the whole spectrum of images of that width.
__device__ inline REAL occurrences(long long column, long long width) {
    return REAL(column == 0 || 2 * column == width ? 1 : 2);
}

// The next direction, and what the blur makes of it. One thread per frequency.
extern "C" __global__ void next_direction(
    const COMPLEX *__restrict__ otf, const REAL *__restrict__ inverse, const COMPLEX *__restrict__ residual,
    const REAL *__restrict__ numbers, long long size, COMPLEX *__restrict__ direction, COMPLEX *__restrict__ blurred) {
    long long n = THREAD_X;
    if (n >= size) return;
    COMPLEX next = add(scale(inverse[n], residual[n]), scale(numbers[SHARE], direction[n]));
    direction[n] = next;
    blurred[n] = multiply(otf[n], next);
}

// Of the masked image's spectrum that of the system's left-hand side,
//     data_weight conj(otf) image + beta (rows + columns) direction,
// and sums[block], its inner product with the direction.
extern "C" __global__ void __launch_bounds__(THREADS) normal_equations(
    const COMPLEX *__restrict__ otf, const COMPLEX *__restrict__ direction, const REAL *__restrict__ rows,
    const REAL *__restrict__ columns, REAL data_weight, REAL beta, long long height, long long width,
    COMPLEX *__restrict__ image, REAL *__restrict__ sums) {
    __shared__ REAL scratch[THREADS];
    long long half = width / 2 + 1;
    REAL sum = 0;
    for (int k = 0; k < EACH; k++) {
        long long n = ((long long)blockIdx.x * EACH + k) * THREADS + threadIdx.x;
        if (n >= height * half) break;
        COMPLEX z = direction[n];
        REAL smoothness = beta * (rows[n / half] + columns[n % half]);
        COMPLEX left = add(scale(data_weight, multiply_conj(otf[n], image[n])), scale(smoothness, z));
        image[n] = left;
        sum += occurrences(n % half, width) * multiply_conj(z, left).x;
    }
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// A step along the direction, whose image under the system is given; sums[block]: the preconditioned residual's square.
extern "C" __global__ void __launch_bounds__(THREADS) advance(
    const COMPLEX *__restrict__ direction, const COMPLEX *__restrict__ image, const REAL *__restrict__ inverse,
    const REAL *__restrict__ numbers, long long height, long long width, COMPLEX *__restrict__ x,
    COMPLEX *__restrict__ residual, REAL *__restrict__ sums) {
    __shared__ REAL scratch[THREADS];
    long long half = width / 2 + 1;
    REAL length = numbers[LENGTH], sum = 0;
    for (int k = 0; k < EACH; k++) {
        long long n = ((long long)blockIdx.x * EACH + k) * THREADS + threadIdx.x;
        if (n >= height * half) break;
        x[n] = add(x[n], scale(length, direction[n]));
        COMPLEX left = subtract(residual[n], scale(length, image[n]));
        residual[n] = left;
        sum += occurrences(n % half, width) * inverse[n] * square_abs(left);
    }
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__device__ inline REAL total(const REAL *__restrict__ sums, long long count, REAL *scratch) {
    REAL sum = 0;
    for (long long i = threadIdx.x; i < count; i += blockDim.x) sum += sums[i];
    return block_sum(sum, scratch);
}

// The step's length, after `normal_equations`: 0 where the residual has fallen to the share `solved`. One block.
extern "C" __global__ void step_length(
    const REAL *__restrict__ sums, long long count, REAL solved, REAL *__restrict__ numbers) {
    __shared__ REAL scratch[THREADS];
    REAL curvature = total(sums, count, scratch);
    if (threadIdx.x) return;
    numbers[LENGTH] = numbers[NOW] > solved * numbers[FIRST] ? numbers[NOW] / curvature : REAL(0);
}

// The residual's size, after `advance`, and the share of the direction, none at the start. One block.
extern "C" __global__ void residual_size(
    const REAL *__restrict__ sums, long long count, int start, REAL *__restrict__ numbers) {
    __shared__ REAL scratch[THREADS];
    REAL size = total(sums, count, scratch);
    if (threadIdx.x) return;
    if (start) numbers[FIRST] = size;
    numbers[SHARE] = !start && numbers[NOW] > 0 ? size / numbers[NOW] : REAL(0);
    numbers[NOW] = size;
}
