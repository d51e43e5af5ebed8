// Sums over the rows of a matrix, of `each` rows to a block: sums[blockIdx.y, c] = Σ_r a[r, c]
//
// Threads are 32 columns × 8 rows, so that a warp reads what lies side by side.
extern "C" __global__ void sum_rows(const real* a, real* sums, size rows, int columns, size each) {
    __shared__ real of_threads[8][33];
    int column = blockIdx.x * 32 + threadIdx.x;
    size first = blockIdx.y * each, last = min(first + each, rows);
    real sum = 0;
    if (column < columns)
        for (size r = first + threadIdx.y; r < last; r += 8) sum += a[r * columns + column];
    of_threads[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y || column >= columns) return;
    for (int k = 1; k < 8; k++) sum += of_threads[k][threadIdx.x];
    sums[blockIdx.y * (size)columns + column] = sum;
}
