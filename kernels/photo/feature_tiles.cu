// Features of images in one pass: 32 filters, tanh, recombinations with tanh, last recombination (direct convolution).
//
// A block of 256 threads computes a tile of 32 columns and 2 · ROWS rows for all filters. The 32 lanes of a warp are the
// columns; each thread has ROWS pixels below each other and 8 filters, whose sums stay in registers. The filters and
// the strip of the image that they need come into shared memory COLUMNS filter columns at a time. Down a filter column,
// a thread reads one pixel and two vectors of four filter values for ROWS · 8 multiply-adds, in float 64 for 3 reads. By
// the machine code for sm_80, with one channel and one hidden layer, 78 % of all instructions are multiply-adds of the
// formula for filters of 17×17, and 88 % for 33×33: no more of the peak is to be had this way. SIZE (side of the
// filters) and LAST (last images per group of threads) come from the launcher.

constexpr int FILTERS = 32, GROUP = 8, ACROSS = 32;
constexpr int ROWS = 32 / int(sizeof(REAL));   // pixels of a thread
constexpr int MIXED = ROWS / 2;                // of them recombined at a time
constexpr int DOWN = 2 * ROWS;                 // rows of a tile
constexpr int RESIDENT = 8 / int(sizeof(REAL));  // blocks at a time on a multiprocessor: registers for as many
constexpr int EXCHANGED = FILTERS * 2 * MIXED * ACROSS;
constexpr int MEMORY = FILTERS * FILTERS + EXCHANGED;

__device__ constexpr int stage_words(int columns) {
    return columns * SIZE * FILTERS + (DOWN + SIZE - 1) * (ACROSS + columns - 1);
}
// Filter columns of a stage: as few stages as memory allows, about equally long.
__device__ constexpr int stage_columns() {
    int most = 1;
    while (most < SIZE && stage_words(most + 1) <= MEMORY) most++;
    int stages = (SIZE + most - 1) / most;
    return (SIZE + stages - 1) / stages;
}
constexpr int COLUMNS = stage_columns();
constexpr int PITCH = ACROSS + COLUMNS - 1, STRIP = (DOWN + SIZE - 1) * PITCH, BANK = COLUMNS * SIZE * FILTERS;
static_assert(stage_words(COLUMNS) <= MEMORY, "one column of the filters must fit into shared memory");

struct alignas(16) Four {
    REAL at[4];
};

// sum[r][q] += one pixel of each row r times the filter values at `bank`; window[(step + r) % ROWS] is row r's pixel.
template <int step> __device__ inline void add_tap(
    REAL (&sum)[ROWS][GROUP], REAL (&window)[ROWS], const REAL *column, const REAL *bank) {
    window[(step + ROWS - 1) % ROWS] = column[(step + ROWS - 1) * PITCH];
    const Four *values = reinterpret_cast<const Four *>(bank + step * FILTERS);
    Four low = values[0], high = values[1];
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        REAL pixel = window[(step + r) % ROWS];
#pragma unroll
        for (int q = 0; q < 4; q++) {
            sum[r][q] += pixel * low.at[q];
            sum[r][q + 4] += pixel * high.at[q];
        }
    }
}

// The taps from `step` to `end` of a filter column.
template <int step, int end> __device__ inline void add_taps(
    REAL (&sum)[ROWS][GROUP], REAL (&window)[ROWS], const REAL *column, const REAL *bank) {
    if constexpr (step < end) {
        add_tap<step>(sum, window, column, bank);
        add_taps<step + 1, end>(sum, window, column, bank);
    }
}

// The sums of all filters, pixel by pixel, times weights (32, 4 · OUT) plus bias: OUT values for each group of threads,
// in place. A thread needs what the other three groups have of its pixels, so these go through shared memory.
template <int OUT> __device__ inline void recombine(
    REAL (&sum)[ROWS][GROUP], REAL *memory, const REAL *__restrict__ weights, const REAL *__restrict__ bias, int lane,
    int group, int half) {
    REAL *pixels = memory + FILTERS * FILTERS;
#pragma unroll
    for (int first = 0; first < ROWS; first += MIXED) {
        __syncthreads();  // nobody reads what was in memory any more
        if (first == 0) {
            for (int n = threadIdx.x; n < FILTERS * 4 * OUT; n += blockDim.x) memory[n] = weights[n];
        }
#pragma unroll
        for (int q = 0; q < GROUP; q++) {
#pragma unroll
            for (int r = 0; r < MIXED; r++)
                pixels[((GROUP * group + q) * DOWN / 2 + half * MIXED + r) * ACROSS + lane] = sum[first + r][q];
        }
        __syncthreads();
        REAL mixed[MIXED][OUT];
#pragma unroll
        for (int q = 0; q < OUT; q++) {
#pragma unroll
            for (int r = 0; r < MIXED; r++) mixed[r][q] = bias[OUT * group + q];
        }
#pragma unroll 4
        for (int m = 0; m < FILTERS; m++) {
            REAL row[OUT];
#pragma unroll
            for (int q = 0; q < OUT; q++) row[q] = memory[m * 4 * OUT + OUT * group + q];
#pragma unroll
            for (int r = 0; r < MIXED; r++) {
                REAL pixel = pixels[(m * DOWN / 2 + half * MIXED + r) * ACROSS + lane];
#pragma unroll
                for (int q = 0; q < OUT; q++) mixed[r][q] += pixel * row[q];
            }
        }
#pragma unroll
        for (int r = 0; r < MIXED; r++) {
#pragma unroll
            for (int q = 0; q < OUT; q++) sum[first + r][q] = mixed[r][q];
        }
    }
}

// features (batch, maps, height - SIZE + 1, width - SIZE + 1) of images (batch, channels, height, width), a block per
// tile of `down` times `across` in an image. filters (channels, SIZE across, SIZE down, 32) are flipped in both
// directions; hidden (layers, 32, 32) and last (32, 4 · LAST) have inputs first; missing filters and maps are zeros.
extern "C" __global__ void __launch_bounds__(256, RESIDENT) feature_tiles(
    const REAL *__restrict__ images, const REAL *__restrict__ filters, const REAL *__restrict__ bias,
    const REAL *__restrict__ hidden, const REAL *__restrict__ hidden_bias, const REAL *__restrict__ last,
    const REAL *__restrict__ last_bias, int channels, int height, int width, int layers, int maps, int down, int across,
    REAL *__restrict__ features) {
    alignas(16) __shared__ REAL memory[MEMORY];
    REAL *bank = memory, *strip = memory + BANK;
    int lane = threadIdx.x % ACROSS, group = threadIdx.x / ACROSS % 4, half = threadIdx.x / (4 * ACROSS);
    int left = blockIdx.x % across * ACROSS, top = blockIdx.x / across % down * DOWN;
    long long image = blockIdx.x / across / down;

    REAL sum[ROWS][GROUP];
#pragma unroll
    for (int q = 0; q < GROUP; q++) {
#pragma unroll
        for (int r = 0; r < ROWS; r++) sum[r][q] = bias[GROUP * group + q];
    }
    for (int c = 0; c < channels; c++) {
        const REAL *pixels = images + (image * channels + c) * height * width;
        for (int start = 0; start < SIZE; start += COLUMNS) {
            int columns = min(COLUMNS, SIZE - start);
            __syncthreads();  // the stage before has been used
            const Four *values = reinterpret_cast<const Four *>(filters + (c * SIZE + start) * SIZE * FILTERS);
            for (int n = threadIdx.x; n < columns * SIZE * FILTERS / 4; n += blockDim.x)
                reinterpret_cast<Four *>(bank)[n] = values[n];
            for (int n = threadIdx.x; n < STRIP; n += blockDim.x) {
                int i = top + n / PITCH, j = left + start + n % PITCH;
                strip[n] = i < height && j < width ? pixels[(long long)i * width + j] : REAL(0);
            }
            __syncthreads();
            for (int v = 0; v < columns; v++) {
                const REAL *column = strip + half * ROWS * PITCH + lane + v;
                const REAL *own = bank + v * SIZE * FILTERS + GROUP * group;
                REAL window[ROWS];
#pragma unroll
                for (int r = 0; r < ROWS - 1; r++) window[r] = column[r * PITCH];
#pragma unroll 1
                for (int u = 0; u + ROWS <= SIZE; u += ROWS)
                    add_taps<0, ROWS>(sum, window, column + u * PITCH, own + u * FILTERS);
                constexpr int WHOLE = SIZE / ROWS * ROWS;
                add_taps<0, SIZE - WHOLE>(sum, window, column + WHOLE * PITCH, own + WHOLE * FILTERS);
            }
        }
    }
    for (int layer = 0; layer <= layers; layer++) {
#pragma unroll
        for (int q = 0; q < GROUP; q++) {
#pragma unroll
            for (int r = 0; r < ROWS; r++) sum[r][q] = tanh(sum[r][q]);
        }
        if (layer < layers) {
            const REAL *weights = hidden + layer * FILTERS * FILTERS;
            recombine<GROUP>(sum, memory, weights, hidden_bias + layer * FILTERS, lane, group, half);
        }
    }
    recombine<LAST>(sum, memory, last, last_bias, lane, group, half);
    int rows = height - SIZE + 1, columns = width - SIZE + 1, j = left + lane;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        int i = top + half * ROWS + r;
#pragma unroll
        for (int q = 0; q < LAST; q++) {
            int m = LAST * group + q;
            if (i < rows && j < columns && m < maps)
                features[((image * maps + m) * rows + i) * columns + j] = sum[r][q];
        }
    }
}
