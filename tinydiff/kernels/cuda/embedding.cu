// The gradient of a table of which rows were picked: table[r, c] = Σ g[i, c] over the i that picked r
//
// picked has the rows in order, and order says where in g each of them stands.
extern "C" __global__ void sum_picked(
    const real* g, const size* picked, const size* order, real* table, size picks, size rows,
    size columns
) {
    FOR_EACH(k, rows * columns) {
        size row = k / columns, column = k - row * columns;
        size low = 0, high = picks;  // the first pick of this row lies in low … high
        while (low < high) {
            size middle = (low + high) / 2;
            if (picked[middle] < row) low = middle + 1;
            else high = middle;
        }
        real sum = 0;
        for (; low < picks && picked[low] == row; low++) sum += g[order[low] * columns + column];
        table[k] = sum;
    }
}
