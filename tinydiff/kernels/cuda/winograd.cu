// Winograd's transforms, v = M x Mᵀ and back y = Mᵀ v M, for M = Bᵀ, G and A of winograd_matrices.py.
//
// Values at the 36 points are 36 planes (rows, channels) of a matrix product.  A thread has one
// tile, in registers, of one channel; its neighbours have the next channels, which lie beside it.

// A row for each of the points 0, −3/4, −3/2, ∞, 3/4, 3/2.
__device__ constexpr real BT[6][6] = {
    {1.265625, 0, -2.8125, 0, 1, 0},
    {0, 1.6875, -2.25, -0.75, 1, 0},
    {0, 0.84375, -0.5625, -1.5, 1, 0},
    {0, 1.265625, 0, -2.8125, 0, 1},
    {0, -1.6875, -2.25, 0.75, 1, 0},
    {0, -0.84375, -0.5625, 1.5, 1, 0},
};
__device__ constexpr real G[6][3] = {
    {64 / 81., 0, 0},
    {-128 / 243., 32 / 81., -8 / 27.},
    {32 / 243., -16 / 81., 8 / 27.},
    {0, 0, 1},
    {-128 / 243., -32 / 81., -8 / 27.},
    {32 / 243., 16 / 81., 8 / 27.},
};
__device__ constexpr real A[6][4] = {
    {1, 0, 0, 0},
    {1, -0.75, 0.5625, -0.421875},
    {1, -1.5, 2.25, -3.375},
    {0, 0, 0, 1},
    {1, 0.75, 0.5625, 0.421875},
    {1, 1.5, 2.25, 3.375},
};

// v[p, q] = Σ_ij m[p, i] m[q, j] x(i, j), to planes of so many elements
template <int K, typename Read>
__device__ inline void to_points(const real (&m)[6][K], Read x, real* v, size plane) {
    real rows[6][K] = {};
#pragma unroll
    for (int j = 0; j < K; j++) {
#pragma unroll
        for (int i = 0; i < K; i++) {
            real here = x(i, j);
#pragma unroll
            for (int p = 0; p < 6; p++)
                if (m[p][i] != 0) rows[p][j] += m[p][i] * here;
        }
    }
#pragma unroll
    for (int p = 0; p < 6; p++) {
#pragma unroll
        for (int q = 0; q < 6; q++) {
            real value = 0;
#pragma unroll
            for (int j = 0; j < K; j++)
                if (m[q][j] != 0) value += m[q][j] * rows[p][j];
            v[(6 * p + q) * plane] = value;
        }
    }
}

// write(i, j, y) of y = Σ_pq m[p, i] m[q, j] v[p, q]
template <int K, typename Write>
__device__ inline void from_points(const real (&m)[6][K], const real* v, size plane, Write write) {
    real rows[K][6] = {};
#pragma unroll
    for (int p = 0; p < 6; p++) {
#pragma unroll
        for (int q = 0; q < 6; q++) {
            real here = v[(6 * p + q) * plane];
#pragma unroll
            for (int i = 0; i < K; i++)
                if (m[p][i] != 0) rows[i][q] += m[p][i] * here;
        }
    }
#pragma unroll
    for (int i = 0; i < K; i++) {
#pragma unroll
        for (int j = 0; j < K; j++) {
            real y = 0;
#pragma unroll
            for (int q = 0; q < 6; q++)
                if (m[q][j] != 0) y += m[q][j] * rows[i][q];
            write(i, j, y);
        }
    }
}

// Which tile and channel are a thread's, of an image's down × right tiles of 4×4 pixels
struct Place {
    int channel, row, column;  // the first pixel, in the image
    size image;

    __device__ Place(unsigned thread, unsigned channels, unsigned down, unsigned right) {
        unsigned tile = thread / channels, line = tile / right;
        channel = thread - tile * channels;
        column = 4 * (tile - line * right);
        image = line / down;
        row = 4 * (line - (unsigned)image * down);
    }
};

// K×K pixels of x (images, h, w, c) from `top` above and `left` before a tile; zeros outside
template <int K>
__device__ inline void pixels_to_points(
    const real (&m)[6][K], const real* x, real* v, int count, int h, int w, int c, int down,
    int right, int top, int left
) {
    unsigned thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    Place place(thread, c, down, right);
    int row = place.row - top, column = place.column - left;
    const real* first = x + ((place.image * h + row) * w + column) * c + place.channel;
    auto pixel = [=](int i, int j) {
        bool inside = (unsigned)(row + i) < h && (unsigned)(column + j) < w;
        return inside ? first[(i * w + j) * c] : (real)0;
    };
    to_points(m, pixel, v + thread, count);
}

// v = Bᵀ x B of the 6×6 pixels that 4×4 outputs see; count is the number of threads with work
extern "C" __global__ void tiles_at_points(
    const real* x, real* v, int count, int h, int w, int c, int down, int right, int top, int left
) {
    pixels_to_points(BT, x, v, count, h, w, c, down, right, top, left);
}

// v = A x Aᵀ of 4×4 pixels
extern "C" __global__ void blocks_at_points(
    const real* x, real* v, int count, int h, int w, int c, int down, int right
) {
    pixels_to_points(A, x, v, count, h, w, c, down, right, 0, 0);
}

// y = Aᵀ v A + bias (null for none) into the pixels that the image has
extern "C" __global__ void pixels_from_points(
    const real* v, const real* bias, real* y, int count, int h, int w, int c, int down, int right
) {
    unsigned thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    Place place(thread, c, down, right);
    real offset = bias ? bias[place.channel] : (real)0;
    int rows = h - place.row, columns = w - place.column;
    real* first = y + ((place.image * h + place.row) * w + place.column) * c + place.channel;
    from_points(A, v + thread, count, [=](int i, int j, real value) {
        if (i < rows && j < columns) first[(i * w + j) * c] = value + offset;
    });
}

// v = G w Gᵀ of so many kernels (3, 3, count), as they are or turned by 180°
extern "C" __global__ void filters_at_points(const real* weight, real* v, int count, int turned) {
    unsigned thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    const real* first = weight + thread + (turned ? 8 : 0) * (size)count;
    size step = turned ? -(size)count : (size)count;
    to_points(G, [=](int i, int j) { return first[(3 * i + j) * step]; }, v + thread, count);
}

// Gᵀ v G, a gradient of turned kernels, turned back
extern "C" __global__ void filters_from_points(const real* v, real* weight, int count) {
    unsigned thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    real* last = weight + thread + 8 * (size)count;
    from_points(G, v + thread, count, [=](int i, int j, real value) {
        last[-(3 * i + j) * (size)count] = value;
    });
}
