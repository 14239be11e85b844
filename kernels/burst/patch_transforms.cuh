// Transforms of small patches as products with DFT factors: device functions for other sources, for a block per patch.

// Mean of `count` numbers, the same for all threads of the block; `scratch` as in block_sum.
__device__ inline REAL block_mean(const REAL *values, int count, REAL *scratch) {
    REAL own = 0;
    for (int p = threadIdx.x; p < count; p += blockDim.x) own += values[p];
    return block_sum(own, scratch) / REAL(count);
}

// Sum of line[j] - offset times factors[j * width] over `count` pixels.
__device__ inline COMPLEX line_product(
    const REAL *line, REAL offset, int count, const COMPLEX *factors, int width) {
    COMPLEX sum = complex_of(0, 0);
    for (int j = 0; j < count; j++) sum = add(sum, scale(line[j] - offset, factors[j * width]));
    return sum;
}

// Sum of factors[i] times column[i * width] over `count` rows.
__device__ inline COMPLEX column_product(const COMPLEX *factors, const COMPLEX *column, int count, int width) {
    COMPLEX sum = complex_of(0, 0);
    for (int i = 0; i < count; i++) sum = add(sum, multiply(factors[i], column[i * width]));
    return sum;
}

// by_rows (side, width) = patch (side, side) - offset, times rows (side, width). Others may read it after
// __syncthreads() only.
__device__ inline void transform_rows(
    const REAL *patch, REAL offset, int side, const COMPLEX *rows, int width, COMPLEX *by_rows) {
    for (int p = threadIdx.x; p < side * width; p += blockDim.x)
        by_rows[p] = line_product(patch + p / width * side, offset, side, rows + p % width, width);
}

// out (centre, centre) = offset + the real part of columns (centre, side) times spectrum (side, width) times
// rows (width, centre). The spectrum is waited for; by_rows (centre, width) is working memory.
__device__ inline void inverse_centre(
    const COMPLEX *spectrum, int side, int width, int centre, const COMPLEX *columns, const COMPLEX *rows, REAL offset,
    COMPLEX *by_rows, REAL *out) {
    __syncthreads();
    for (int p = threadIdx.x; p < centre * width; p += blockDim.x)
        by_rows[p] = column_product(columns + p / width * side, spectrum + p % width, side, width);
    __syncthreads();
    for (int p = threadIdx.x; p < centre * centre; p += blockDim.x)
        out[p] = column_product(by_rows + p / centre * width, rows + p % centre, width, centre).x + offset;
}
