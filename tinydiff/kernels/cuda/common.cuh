// Shared by all sources here: the numbers they compute with, and sums over a block.
typedef REAL real;  // float or double, said when compiled

typedef long long size;  // of an array, or a position in one

// Every element of a long array, with however many threads were started.
#define FOR_EACH(i, n) \
    for (size i = (size)blockIdx.x * blockDim.x + threadIdx.x; i < (n); \
         i += (size)gridDim.x * blockDim.x)

__device__ inline real sigmoid(real x) { return 1 / (1 + exp(-x)); }  // e⁻ˣ = ∞ gives 0

// The sum over a block's threads, for all of them.  blockDim.x a multiple of 32; the order of the
// additions, and so the result, is always the same.
template <typename T>
__device__ inline T block_sum(T value) {
    __shared__ T of_warps[32];
    for (int k = 16; k; k /= 2) value += __shfl_xor_sync(0xffffffffu, value, k);
    __syncthreads();  // those of an earlier sum have been read
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = value;
    __syncthreads();
    value = 0;
    for (int w = 0; w < blockDim.x / 32; w++) value += of_warps[w];
    return value;
}

__device__ inline real block_max(real value) {
    __shared__ real of_warps[32];
    for (int k = 16; k; k /= 2) value = max(value, __shfl_xor_sync(0xffffffffu, value, k));
    __syncthreads();
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = value;
    __syncthreads();
    for (int w = 0; w < blockDim.x / 32; w++) value = max(value, of_warps[w]);
    return value;
}
