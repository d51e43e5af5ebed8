// cols[(n, i, j), (a, b, c)] = x[n, i·s + a·d − p, j·s + b·d − p, c], or 0 outside the image
//
// Output pixels are (rows, columns), x is (images, h, w, c), padding may be negative.  A thread has
// one pixel of one channel; its neighbours have the next channels, which lie beside it.
// count is the number of threads with work.
extern "C" __global__ void gather(
    const real* __restrict__ x, real* __restrict__ cols, int count, int h, int w, int c, int rows,
    int columns, int taps_down, int taps_right, int stride_down, int stride_right,
    int dilation_down, int dilation_right, int top, int left
) {
    unsigned thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    unsigned pixel = thread / (unsigned)c, line = pixel / (unsigned)columns;
    unsigned image = line / (unsigned)rows;
    int channel = thread - pixel * c;
    int row = (int)(line - image * rows) * stride_down - top;
    int column = (int)(pixel - line * columns) * stride_right - left;
    x += (size)image * h * w * c + channel;
    cols += (size)pixel * (taps_down * taps_right) * c + channel;
    for (int a = 0; a < taps_down; a++, row += dilation_down) {
        const real* seen = x + (size)row * w * c;
        bool inside = (unsigned)row < h;
        for (int b = 0, at = column; b < taps_right; b++, at += dilation_right) {
            *cols = inside && (unsigned)at < w ? seen[at * c] : (real)0;
            cols += c;
        }
    }
}

// The first tap a with at = i·stride + a·dilation for an integer i (taps if there is none)
__device__ inline int first_tap(int at, int stride, int dilation, int taps) {
    int a = 0;
    while (a < taps && (at - a * dilation) % stride) a++;
    return a;
}

// The transpose: every input pixel collects what the output pixels that saw it have for it.  It was
// seen at taps step_a apart, by output pixels that are then −step_i apart.
extern "C" __global__ void collect(
    const real* __restrict__ cols, real* __restrict__ x, int count, int h, int w, int c, int rows,
    int columns, int taps_down, int taps_right, int stride_down, int stride_right,
    int dilation_down, int dilation_right, int top, int left, int step_a, int step_i, int step_b,
    int step_j
) {
    unsigned thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= count) return;
    unsigned pixel = thread / (unsigned)c, line = pixel / (unsigned)w, image = line / (unsigned)h;
    int channel = thread - pixel * c;
    int row = (int)(line - image * h) + top, column = (int)(pixel - line * w) + left;
    int first_a = first_tap(row, stride_down, dilation_down, taps_down);
    int first_b = first_tap(column, stride_right, dilation_right, taps_right);
    int first_i = (row - first_a * dilation_down) / stride_down;
    int first_j = (column - first_b * dilation_right) / stride_right;
    cols += (size)image * rows * columns * (taps_down * taps_right) * c + channel;
    real sum = 0;
    for (int a = first_a, i = first_i; a < taps_down; a += step_a, i -= step_i) {
        if ((unsigned)i >= rows) continue;
        for (int b = first_b, j = first_j; b < taps_right; b += step_b, j -= step_j) {
            if ((unsigned)j >= columns) continue;
            size seen = (size)(i * columns + j) * (taps_down * taps_right);
            sum += cols[(seen + a * taps_right + b) * c];
        }
    }
    x[thread] = sum;
}
