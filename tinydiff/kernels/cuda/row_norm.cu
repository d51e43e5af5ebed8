// The norm of rows: z = (x − μ)·r·w + b, μ and v over a row, y = z or z·σ(z).  A token has groups
// rows one after the other, each with its part of weight and bias; layer norm has one.

// A row is read three times, but comes from memory once.
extern "C" __global__ void row_norm(
    const real* x, const real* weight, const real* bias, real* y, real* mean, real* variance,
    real* rstd, size rows, int length, int groups, real eps, int silu
) {
    size row = row_here();
    if (row >= rows) return;
    x += row * length;
    y += row * length;
    weight += row % groups * length;
    bias += row % groups * length;
    real first = *x, off = 0, v = 0;  // relative to the first: far from zero no digits are lost
    for (int i = threadIdx.x; i < length; i += blockDim.x) off += x[i] - first;
    off = warp_or_block_sum(off) / length;
    for (int i = threadIdx.x; i < length; i += blockDim.x) {
        real d = x[i] - first - off;
        v += d * d;
    }
    v = warp_or_block_sum(v) / length;
    real m = first + off, r = 1 / sqrt(v + eps);
    for (int i = threadIdx.x; i < length; i += blockDim.x)
        y[i] = silu_if(silu, (x[i] - m) * r * weight[i] + bias[i]);
    if (threadIdx.x == 0) {
        mean[row] = m;
        variance[row] = v;
        rstd[row] = r;
    }
}

// With d = ∂/∂z, x̂ = (x − μ)·r, h = d·w: ∂/∂x = r·(h − mean(h) − x̂·mean(h·x̂))
extern "C" __global__ void row_input_grad(
    const real* g, const real* x, const real* mean, const real* rstd, const real* weight,
    const real* bias, real* __restrict__ gx, size rows, int length, int groups, int silu
) {
    size row = row_here();
    if (row >= rows) return;
    g += row * length;
    x += row * length;
    gx += row * length;
    weight += row % groups * length;
    bias += row % groups * length;
    real m = mean[row], r = rstd[row], level = 0, tilt = 0;
    for (int i = threadIdx.x; i < length; i += blockDim.x) {
        real x_hat = (x[i] - m) * r, z = x_hat * weight[i] + bias[i];
        real h = silu_slope_if(silu, z) * g[i] * weight[i];
        level += h;
        tilt += h * x_hat;
    }
    level = warp_or_block_sum(level) / length;
    tilt = warp_or_block_sum(tilt) / length;
    for (int i = threadIdx.x; i < length; i += blockDim.x) {
        real x_hat = (x[i] - m) * r, z = x_hat * weight[i] + bias[i];
        real h = silu_slope_if(silu, z) * g[i] * weight[i];
        gx[i] = r * (h - level - x_hat * tilt);
    }
}

// Σ d and Σ d·x̂ over the tokens (tokens, channels) of each strip, into (strips, channels): a thread
// has one channel of every strips-th token.
extern "C" __global__ void column_sums(
    const real* __restrict__ g, const real* __restrict__ x, const real* __restrict__ mean,
    const real* __restrict__ rstd, const real* weight, const real* bias, real* along, real* across,
    int strips, size tokens, int channels, int groups, int silu
) {
    int strip = blockIdx.x * blockDim.y + threadIdx.y;
    int c = blockIdx.y * blockDim.x + threadIdx.x, group = c / (channels / groups);
    if (strip >= strips || c >= channels) return;
    real w = weight[c], b = bias[c], flat = 0, tilted = 0;
#pragma unroll 4
    for (size l = strip; l < tokens; l += strips) {
        size at = l * channels + c, row = l * groups + group;
        real x_hat = (x[at] - mean[row]) * rstd[row], d = silu_slope_if(silu, x_hat * w + b) * g[at];
        flat += d;
        tilted += d * x_hat;
    }
    along[(size)strip * channels + c] = flat;
    across[(size)strip * channels + c] = tilted;
}
