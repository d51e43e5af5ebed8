// Shared by all sources here: the numbers they compute with, and sums over a block.
typedef REAL real;  // float or double, said when compiled

typedef long long size;  // of an array, or a position in one

// Every element of a long array, with however many threads were started.
#define FOR_EACH(i, n) \
    for (size i = (size)blockIdx.x * blockDim.x + threadIdx.x; i < (n); \
         i += (size)gridDim.x * blockDim.x)

__device__ inline real sigmoid(real x) { return 1 / (1 + exp(-x)); }  // e⁻ˣ = ∞ gives 0

__device__ inline real silu_if(bool yes, real z) { return yes ? z * sigmoid(z) : z; }

__device__ inline real silu_slope_if(bool yes, real z) {
    if (!yes) return 1;
    real s = sigmoid(z);
    return s + z * s * (1 - s);
}

template <typename T>
__device__ inline T warp_sum(T value) {
    for (int k = 16; k; k /= 2) value += __shfl_xor_sync(0xffffffffu, value, k);
    return value;
}

__device__ inline real warp_max(real value) {
    for (int k = 16; k; k /= 2) value = max(value, __shfl_xor_sync(0xffffffffu, value, k));
    return value;
}

// The sum over a block's threads, for all of them.  blockDim.x a multiple of 32, blockDim.y 1; the
// order of the additions, and so the result, is always the same.
template <typename T>
__device__ inline T block_sum(T value) {
    __shared__ T of_warps[32];
    value = warp_sum(value);
    __syncthreads();  // those of an earlier sum have been read
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = value;
    __syncthreads();
    value = 0;
    for (int w = 0; w < blockDim.x / 32; w++) value += of_warps[w];
    return value;
}

__device__ inline real block_max(real value) {
    __shared__ real of_warps[32];
    value = warp_max(value);
    __syncthreads();
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = value;
    __syncthreads();
    for (int w = 0; w < blockDim.x / 32; w++) value = max(value, of_warps[w]);
    return value;
}

// Rows, one for each threadIdx.y: a warp takes a short one, a block a long one (rows_for in
// source.py), and these are sums and maxima over a row's threads.
__device__ inline size row_here() { return (size)blockIdx.x * blockDim.y + threadIdx.y; }

__device__ inline real warp_or_block_sum(real value) {
    return blockDim.x == 32 ? warp_sum(value) : block_sum(value);
}

__device__ inline real warp_or_block_max(real value) {
    return blockDim.x == 32 ? warp_max(value) : block_max(value);
}
