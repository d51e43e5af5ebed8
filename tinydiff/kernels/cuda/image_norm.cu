// Group norm of x (N, L, C): z = (x − μ)·r·w + b, r = 1/√(v + ε), μ and v over the pixels and
// channels of a group; y = z, or z·σ(z).
//
// The kernels over all of x are placed by over_all in image_norm.py: a thread has one channel of every
// strips-th pixel of an image, so that neighbours read what lies side by side.  blockIdx.x counts
// images and slabs of blockDim.y strips, blockIdx.y blocks of channels.

struct Place {
    size image;
    int strip, channel;
    size pixel;  // the strip's first, in x, at its channel
    size step;   // from one pixel of the strip to the next, in x
};

__device__ inline Place place(int strips, size pixels, int channels) {
    Place p;
    int slabs = (strips + blockDim.y - 1) / blockDim.y;
    p.image = blockIdx.x / slabs;
    p.strip = blockIdx.x % slabs * blockDim.y + threadIdx.y;
    p.channel = blockIdx.y * blockDim.x + threadIdx.x;
    p.pixel = (p.image * pixels + p.strip) * channels + p.channel;
    p.step = (size)strips * channels;
    return p;
}

// The mean of each strip, relative to its channel's first pixel in the image, and the sum of its
// squares around it, into (N, strips, C).  Eight pixels at a time by that definition; runs are
// joined by Chan's formula,
//     μ = μ₁ + δ·n₂/n,  S = S₁ + S₂ + δ²·n₁n₂/n,  δ = μ₂ − μ₁
// Far from zero no digits are lost.
extern "C" __global__ void moments(
    const real* __restrict__ x, real* means, real* squares, int strips, size pixels, int channels
) {
    const int RUN = 8;
    Place p = place(strips, pixels, channels);
    if (p.strip >= strips || p.channel >= channels) return;
    real first = x[p.image * pixels * channels + p.channel], mean = 0, square = 0, count = 0;
    x += p.pixel;
    for (size l = p.strip; l < pixels; l += (size)RUN * strips) {
        real v[RUN], sum = 0, own = 0, n = 0;
#pragma unroll
        for (int k = 0; k < RUN; k++) {
            bool there = l + (size)k * strips < pixels;
            v[k] = there ? x[k * p.step] - first : 0;
            sum += v[k];
            n += there;
        }
        real delta = sum / n;
#pragma unroll
        for (int k = 0; k < RUN; k++) {
            real d = v[k] - delta;
            own += k < n ? d * d : 0;
        }
        delta -= mean;
        real share = n / (count + n);
        mean += delta * share;
        square += own + delta * (delta * (count * share));  // in this order ∞·0 does not arise
        count += n;
        x += RUN * p.step;
    }
    size at = (p.image * strips + p.strip) * channels + p.channel;
    means[at] = mean;
    squares[at] = square;
}

// One block a group: the same formula for all its strips and channels at once,
//     μ = Σ nᵢμᵢ / n,  S = Σ Sᵢ + Σ nᵢ(μᵢ − μ)²
// with μᵢ relative to the first channel's first pixel.
extern "C" __global__ void statistics(
    const real* x, const real* means, const real* squares, real* mean, real* variance, real* rstd,
    int strips, size pixels, int channels, int groups, real eps
) {
    int members = channels / groups, low = blockIdx.x % groups * members;
    size image = blockIdx.x / groups;
    x += image * pixels * channels + low;
    means += image * strips * channels + low;
    squares += image * strips * channels + low;
    size length = pixels / strips, longer = pixels % strips;
    real first = *x, count = (real)pixels * members, sum = 0;
    for (int k = threadIdx.x; k < strips * members; k += blockDim.x) {
        int strip = k / members, c = k % members;
        real n = length + (strip < longer);
        sum += n * (x[c] - first + means[(size)strip * channels + c]);
    }
    real off = block_sum(sum) / count;
    sum = 0;
    for (int k = threadIdx.x; k < strips * members; k += blockDim.x) {
        int strip = k / members, c = k % members;
        size at = (size)strip * channels + c;
        real n = length + (strip < longer), d = x[c] - first - off + means[at];
        sum += squares[at] + n * d * d;
    }
    real v = block_sum(sum) / count;
    if (threadIdx.x == 0) {
        mean[blockIdx.x] = first + off;
        variance[blockIdx.x] = v;
        rstd[blockIdx.x] = 1 / sqrt(v + eps);
    }
}

extern "C" __global__ void normalise(
    const real* __restrict__ x, const real* mean, const real* rstd, const real* weight,
    const real* bias, real* __restrict__ y,
    int strips, size pixels, int channels, int groups, int silu
) {
    Place p = place(strips, pixels, channels);
    if (p.strip >= strips || p.channel >= channels) return;
    size group = p.image * groups + p.channel / (channels / groups);
    real m = mean[group], scale = rstd[group] * weight[p.channel], b = bias[p.channel];
    x += p.pixel;
    y += p.pixel;
#pragma unroll 4
    for (size l = p.strip; l < pixels; l += strips) {
        *y = silu_if(silu, (*x - m) * scale + b);
        x += p.step;
        y += p.step;
    }
}

// With d = ∂/∂z and x̂ = (x − μ)·r: Σ d and Σ d·x̂ over each strip, into (N, strips, C)
extern "C" __global__ void slope_sums(
    const real* __restrict__ g, const real* __restrict__ x, const real* mean, const real* rstd,
    const real* weight, const real* bias, real* along, real* across,
    int strips, size pixels, int channels, int groups, int silu
) {
    Place p = place(strips, pixels, channels);
    if (p.strip >= strips || p.channel >= channels) return;
    size group = p.image * groups + p.channel / (channels / groups);
    real m = mean[group], r = rstd[group], w = weight[p.channel], b = bias[p.channel];
    x += p.pixel;
    g += p.pixel;
    real flat = 0, tilted = 0;
#pragma unroll 4
    for (size l = p.strip; l < pixels; l += strips) {
        real x_hat = (*x - m) * r, d = silu_slope_if(silu, x_hat * w + b) * *g;
        flat += d;
        tilted += d * x_hat;
        x += p.step;
        g += p.step;
    }
    size at = (p.image * strips + p.strip) * channels + p.channel;
    along[at] = flat;
    across[at] = tilted;
}

// One block a group: these sums over all strips, into (N, C), and the means of h = d·w and of h·x̂
// over the group.  A team of threads, 1, 2, 4 … or 32, takes a channel, and then the next.
extern "C" __global__ void slope_means(
    const real* along, const real* across, const real* weight, real* along_sum, real* across_sum,
    real* h_mean, real* tilt, int team, int strips, size pixels, int channels, int groups
) {
    int members = channels / groups, lane = threadIdx.x % team;
    size image = blockIdx.x / groups;
    int low = blockIdx.x % groups * members;
    real h = 0, hx = 0;
    for (int first = 0; first < members; first += blockDim.x / team) {
        int member = first + threadIdx.x / team, c = low + member;
        bool there = member < members;  // the others take part in what follows all the same
        real flat = 0, tilted = 0;
#pragma unroll 4
        for (int s = there ? lane : strips; s < strips; s += team) {
            size at = (image * strips + s) * channels + c;
            flat += along[at];
            tilted += across[at];
        }
        if (there) {
            h += weight[c] * flat;
            hx += weight[c] * tilted;
        }
        for (int k = team / 2; k; k /= 2) {
            flat += __shfl_xor_sync(0xffffffffu, flat, k);
            tilted += __shfl_xor_sync(0xffffffffu, tilted, k);
        }
        if (there && lane == 0) {
            along_sum[image * channels + c] = flat;
            across_sum[image * channels + c] = tilted;
        }
    }
    real count = (real)pixels * members;
    h = block_sum(h) / count;
    hx = block_sum(hx) / count;
    if (threadIdx.x == 0) {
        h_mean[blockIdx.x] = h;
        tilt[blockIdx.x] = hx;
    }
}

// ∂/∂x = r·(h − mean(h) − x̂·mean(h·x̂))
extern "C" __global__ void input_grad(
    const real* __restrict__ g, const real* __restrict__ x, const real* mean, const real* rstd,
    const real* weight, const real* bias, const real* h_mean, const real* tilt,
    real* __restrict__ gx, int strips, size pixels, int channels, int groups, int silu
) {
    Place p = place(strips, pixels, channels);
    if (p.strip >= strips || p.channel >= channels) return;
    size group = p.image * groups + p.channel / (channels / groups);
    real m = mean[group], r = rstd[group], w = weight[p.channel], b = bias[p.channel];
    real level = h_mean[group], t = tilt[group];
    x += p.pixel;
    g += p.pixel;
    gx += p.pixel;
#pragma unroll 4
    for (size l = p.strip; l < pixels; l += strips) {
        real x_hat = (*x - m) * r;
        *gx = r * (silu_slope_if(silu, x_hat * w + b) * *g * w - level - x_hat * t);
        x += p.step;
        g += p.step;
        gx += p.step;
    }
}
