// CUDA C on a CPU: a kernel's threads as fibers of one process, for tests where there is no GPU.
//
// A block's threads run one after the other, each until it ends or waits: at __syncthreads() for
// its block, at a shuffle for its warp.  What is left undone, a missing barrier say, shows as a
// wrong result when the order of the threads is turned around (cuda_on_cpu::backwards).  A block
// finds NaNs in its shared memory, and floats too small to be normal are 0, as CuPy has them.
#pragma once
#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include <vector>

// NVRTC has none of C's headers.
#undef INFINITY
#undef NAN
#undef HUGE_VAL
#undef M_PI

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static __attribute__((section("shared_memory")))
#define __launch_bounds__(...)
#define __restrict__

// The linker's names for where that section begins and ends, null where there is none.
extern "C" __attribute__((weak, visibility("hidden"))) char __start_shared_memory[];
extern "C" __attribute__((weak, visibility("hidden"))) char __stop_shared_memory[];

struct dim3 {
    unsigned x, y, z;
};
static dim3 gridDim, blockDim, blockIdx, threadIdx;
static const int warpSize = 32;

namespace cuda_on_cpu {

enum State { ready, at_block_barrier, at_warp_barrier, ended };

struct Fiber {
    ucontext_t context;  // where it begins
    jmp_buf place;       // where it goes on
    dim3 index;
    State state;
    bool begun;
};

static const size_t STACK = 64 << 10;
static std::vector<Fiber> fibers;
static std::vector<char> stacks;
static jmp_buf scheduler;
static int running = -1;  // the thread, or -1 where a block runs without fibers
static void (*body)(void**);
static void** arguments;
static double exchanged[1024];  // one value a thread, for shuffles
static bool backwards = false;

static void fail(const char* message) {
    fprintf(stderr, "CUDA on CPU: %s\n", message);
    abort();
}

static void wait(State state) {
    if (running < 0) fail("a barrier in a kernel that was said to have none");
    Fiber& self = fibers[running];
    self.state = state;
    if (!_setjmp(self.place)) _longjmp(scheduler, 1);
}

static void start() {
    body(arguments);
    fibers[running].state = ended;
    _longjmp(scheduler, 1);
}

// Runs a thread until it waits or ends.  (swapcontext alone would do, at two system calls each.)
__attribute__((noinline)) static void resume(Fiber& fiber) {
    if (_setjmp(scheduler)) return;
    if (fiber.begun) _longjmp(fiber.place, 1);
    fiber.begun = true;
    setcontext(&fiber.context);
}

// Lets those go on that have all arrived at a barrier; says whether there were any.
static bool release(int low, int high, State barrier, const char* divergent) {
    int arrived = 0, gone = 0;
    for (int i = low; i < high; i++) {
        arrived += fibers[i].state == barrier;
        gone += fibers[i].state == ended;
    }
    if (arrived && arrived + gone == high - low && gone) fail(divergent);
    if (arrived < high - low) return false;
    for (int i = low; i < high; i++) fibers[i].state = ready;
    return true;
}

static void run_block(int threads) {
    if ((int)fibers.size() < threads) {
        fibers.resize(threads);
        stacks.resize(threads * STACK);
    }
    for (int i = 0; i < threads; i++) {
        Fiber& f = fibers[i];
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = &stacks[i * STACK];
        f.context.uc_stack.ss_size = STACK;
        f.context.uc_link = nullptr;
        makecontext(&f.context, start, 0);
        unsigned x = i % blockDim.x, rest = i / blockDim.x;
        f.index = {x, rest % blockDim.y, rest / blockDim.y};
        f.state = ready;
        f.begun = false;
    }
    while (true) {
        bool moved = false;
        for (int k = 0; k < threads; k++) {
            int i = backwards ? threads - 1 - k : k;
            if (fibers[i].state != ready) continue;
            running = i;
            threadIdx = fibers[i].index;
            resume(fibers[i]);
            moved = true;
        }
        for (int low = 0; low < threads; low += warpSize) {
            int high = low + warpSize < threads ? low + warpSize : threads;
            moved |= release(low, high, at_warp_barrier, "a shuffle that not all of a warp reach");
        }
        moved |= release(0, threads, at_block_barrier, "a barrier that not all of a block reach");
        if (moved) continue;
        for (int i = 0; i < threads; i++)
            if (fibers[i].state != ended) fail("the threads of a block wait for one another");
        break;
    }
    running = -1;
}

static void run_block_without_barriers(int threads) {
    for (int k = 0; k < threads; k++) {
        unsigned i = backwards ? threads - 1 - k : k;
        unsigned rest = i / blockDim.x;
        threadIdx = {i % blockDim.x, rest % blockDim.y, rest / blockDim.y};
        body(arguments);
    }
}

template <typename T>
static T shuffle(T value, int from) {
    memcpy(&exchanged[running], &value, sizeof(T));
    wait(at_warp_barrier);
    T other;
    memcpy(&other, &exchanged[from], sizeof(T));
    wait(at_warp_barrier);
    return other;
}

}  // namespace cuda_on_cpu

inline void __syncthreads() { cuda_on_cpu::wait(cuda_on_cpu::at_block_barrier); }
inline void __syncwarp(unsigned = 0xffffffffu) { cuda_on_cpu::wait(cuda_on_cpu::at_warp_barrier); }

template <typename T>
inline T __shfl_xor_sync(unsigned, T value, int mask) {
    return cuda_on_cpu::shuffle(value, cuda_on_cpu::running ^ mask);
}
template <typename T>
inline T __shfl_down_sync(unsigned, T value, int by) {
    int lane = cuda_on_cpu::running % warpSize;
    return cuda_on_cpu::shuffle(value, cuda_on_cpu::running + (lane + by < warpSize ? by : 0));
}
template <typename T>
inline T __shfl_sync(unsigned, T value, int lane) {
    int first = cuda_on_cpu::running - cuda_on_cpu::running % warpSize;
    return cuda_on_cpu::shuffle(value, first + lane);
}

// What CUDA C has and C++ lacks.
inline float rsqrt(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / ::sqrt(x); }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline float __expf(float x) { return expf(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline unsigned __umulhi(unsigned a, unsigned b) { return (uint64_t)a * b >> 32; }
template <typename T>
inline T min(T a, T b) {
    return b < a ? b : a;
}
template <typename T>
inline T max(T a, T b) {
    return a < b ? b : a;
}
inline float max(float a, float b) { return fmaxf(a, b); }  // of a NaN and a number, the number
inline double max(double a, double b) { return fmax(a, b); }
inline float min(float a, float b) { return fminf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
template <typename T>
inline T __ldg(const T* p) {
    return *p;
}

struct float4 {
    float x, y, z, w;
};
struct float2 {
    float x, y;
};

// -ftz=true, which is CuPy's; of doubles none are flushed.  Tells what to restore.
static unsigned flush_small_floats() {
#ifdef __SSE__
    unsigned settings = _mm_getcsr();
    if (sizeof(REAL) == sizeof(float)) _mm_setcsr(settings | 0x8040);
    return settings;
#else
    return 0;
#endif
}

static void restore(unsigned settings) {
#ifdef __SSE__
    _mm_setcsr(settings);
#endif
}

static void cuda_on_cpu_launch(
    void (*kernel)(void**), void** arguments, const int* grid, const int* block, int barriers
) {
    gridDim = {(unsigned)grid[0], (unsigned)grid[1], (unsigned)grid[2]};
    blockDim = {(unsigned)block[0], (unsigned)block[1], (unsigned)block[2]};
    cuda_on_cpu::body = kernel;
    cuda_on_cpu::arguments = arguments;
    unsigned settings = flush_small_floats();
    for (unsigned z = 0; z < gridDim.z; z++)
        for (unsigned y = 0; y < gridDim.y; y++)
            for (unsigned x = 0; x < gridDim.x; x++) {
                blockIdx = {x, y, z};
                int threads = block[0] * block[1] * block[2];
                memset(__start_shared_memory, 0xff, __stop_shared_memory - __start_shared_memory);
                if (barriers)
                    cuda_on_cpu::run_block(threads);
                else
                    cuda_on_cpu::run_block_without_barriers(threads);
            }
    restore(settings);
}
