// Rows of numbers; x and y may be one array.
//
//     y = e^(x − m)·r      m = max x,  r = 1 / Σ e^(x − m)
//
// A row is read three times, but comes from memory once: the others find it in the cache.

extern "C" __global__ void softmax(
    const real* x, real* y, real* largest, real* rest, size rows, int length
) {
    size row = row_here();
    if (row >= rows) return;
    x += row * length;
    y += row * length;
    real m = *x, sum = 0;
    for (int i = threadIdx.x; i < length; i += blockDim.x) m = max(m, x[i]);
    m = warp_or_block_max(m);
    for (int i = threadIdx.x; i < length; i += blockDim.x) sum += exp(x[i] - m);
    real r = 1 / warp_or_block_sum(sum);
    for (int i = threadIdx.x; i < length; i += blockDim.x) y[i] = exp(x[i] - m) * r;
    if (largest && threadIdx.x == 0) {
        largest[row] = m;
        rest[row] = r;
    }
}

// From scores s and ∂/∂p, where p = softmax(s) had m and r as above:
//
//     p = e^(s − m)·r  in the place of s,   ∂/∂s = p·(∂/∂p − Σ p·∂/∂p)  in the place of ∂/∂p

extern "C" __global__ void softmax_again_and_grad(
    real* s, real* g, const real* largest, const real* rest, size rows, int length
) {
    size row = row_here();
    if (row >= rows) return;
    s += row * length;
    g += row * length;
    real m = largest[row], r = rest[row], along = 0;
    for (int i = threadIdx.x; i < length; i += blockDim.x) {
        real p = exp(s[i] - m) * r;
        s[i] = p;
        along += p * g[i];
    }
    along = warp_or_block_sum(along);
    for (int i = threadIdx.x; i < length; i += blockDim.x) g[i] = s[i] * (g[i] - along);
}
