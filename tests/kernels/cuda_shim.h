// Makes a CUDA source an ordinary C++20 file: its kernels run on the CPU, one block after the other.
//
// The threads of a block are fibers that change at __syncthreads(). A thread that never waits needs no fiber of its
// own: the next thread simply runs after it on the same stack. Shared memory is filled with NaNs before each block.
// Threads run in rising or in falling order: a kernel in which one thread reads what another one writes without
// __syncthreads() in between gives different results. Threads that wait at different lines, or of which some wait and
// others have ended, are an error, as on a GPU.
#pragma once

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __constant__ static
#define __launch_bounds__(...)
#ifdef __SANITIZE_ADDRESS__  // the sanitizer puts its guards only around variables of ordinary sections
#define __shared__ static
#else
#define __shared__ static __attribute__((section("cuda_shared")))
// Where the linker puts this section; weak, because a source may have no shared memory at all.
extern "C" __attribute__((weak, visibility("hidden"))) char __start_cuda_shared[], __stop_cuda_shared[];
#endif

struct dim3 {
    unsigned int x, y, z;
};
struct float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct double2 {
    double x, y;
};
struct int2 {
    int x, y;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }
inline int2 make_int2(int x, int y) { return {x, y}; }

static dim3 threadIdx, blockIdx, blockDim, gridDim;

// CUDA's own functions; those of C, with overloads for float, are in math.h.
template <class T> inline T min(T a, T b) { return b < a ? b : a; }
template <class T> inline T max(T a, T b) { return a < b ? b : a; }
inline float rsqrt(float x) { return 1.0f / sqrtf(x); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline void sincos(float x, float *s, float *c) { *s = sinf(x), *c = cosf(x); }
inline float __int_as_float(int x) { return __builtin_bit_cast(float, x); }
inline int __float_as_int(float x) { return __builtin_bit_cast(int, x); }
inline int __popc(unsigned int x) { return __builtin_popcount(x); }
template <class T> inline T __ldg(const T *p) { return *p; }
inline unsigned int atomicAdd(unsigned int *p, unsigned int x) {
    unsigned int before = *p;
    *p += x;
    return before;
}

namespace cuda_shim {
constexpr size_t stack_size = 64 * 1024;
constexpr unsigned int most_threads = 1024;

struct Fiber {
    ucontext_t context;
    char *stack = nullptr;
    unsigned int thread = 0;  // of the block, while it waits
    int line = 0;             // of the __syncthreads() where it waits; 0: its thread has ended
};

static Fiber fibers[most_threads];
static ucontext_t scheduler;
static Fiber *current;
static unsigned int started, threads;
static bool falling;
static void (*body)(void *);
static void *arguments;

inline void become(unsigned int thread) {
    unsigned int place = falling ? threads - 1 - thread : thread;
    threadIdx = {place % blockDim.x, place / blockDim.x % blockDim.y, place / (blockDim.x * blockDim.y)};
}

// What a fiber does: run threads that have not started yet, until one of them has waited.
static void run_threads() {
    Fiber *me = current;
    do {
        me->thread = started++;
        me->line = 0;
        become(me->thread);
        body(arguments);
    } while (me->line == 0 && started < threads);
    me->line = 0;
}

inline void wait(int line) {
    Fiber *me = current;
    me->line = line;
    swapcontext(&me->context, &scheduler);
    become(me->thread);
}

inline void resume(Fiber &fiber) {
    current = &fiber;
    swapcontext(&scheduler, &fiber.context);
}

// One block; false if its threads did not all wait at the same __syncthreads().
static bool run_block() {
#ifndef __SANITIZE_ADDRESS__
    if (__start_cuda_shared) memset(__start_cuda_shared, 0xff, __stop_cuda_shared - __start_cuda_shared);
#endif
    unsigned int used = 0;
    for (started = 0; started < threads; used++) {
        Fiber &fiber = fibers[used];
        if (!fiber.stack) fiber.stack = static_cast<char *>(malloc(stack_size));
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack;
        fiber.context.uc_stack.ss_size = stack_size;
        fiber.context.uc_link = &scheduler;
        makecontext(&fiber.context, run_threads, 0);
        resume(fiber);
    }
    // The last fiber may have ended its threads without waiting; every other one waits now.
    while (true) {
        unsigned int waiting = 0;
        int line = 0;
        for (unsigned int i = 0; i < used; i++) {
            if (fibers[i].line == 0) continue;
            if (line && fibers[i].line != line) return false;
            line = fibers[i].line;
            waiting++;
        }
        if (waiting == 0) return true;
        if (waiting != threads) return false;
        for (unsigned int i = 0; i < used; i++) resume(fibers[i]);
    }
}

// The whole grid. `shape` holds the grid's and the block's three sizes; 0 if all went well.
inline int run(const unsigned int *shape, int falling_order, void (*kernel)(void *), void *kernel_arguments) {
    gridDim = {shape[0], shape[1], shape[2]};
    blockDim = {shape[3], shape[4], shape[5]};
    threads = blockDim.x * blockDim.y * blockDim.z;
    falling = falling_order;
    body = kernel;
    arguments = kernel_arguments;
    for (unsigned int z = 0; z < gridDim.z; z++)
        for (unsigned int y = 0; y < gridDim.y; y++)
            for (unsigned int x = 0; x < gridDim.x; x++) {
                blockIdx = {x, y, z};
                if (!run_block()) return 1;
            }
    return 0;
}
}  // namespace cuda_shim

#define __syncthreads() cuda_shim::wait(__LINE__)
