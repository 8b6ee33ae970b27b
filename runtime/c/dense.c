#include <string.h>

#include "nmbrl_fixed_point.h"
#include "nmbrl_kernels.h"
#include "nmbrl_target.h"

/* A pair of rows at a time, as the weights lie. */
void nmbrl_dense_portable(const nmbrl_dense_layer *layer, const int8_t *x, size_t x_stride, int8_t *y,
                          size_t y_stride, size_t n) {
    const nmbrl_dense_layer l = *layer;
    for (size_t sample = 0; sample < n; ++sample, x += x_stride, y += y_stride) {
        const int8_t *w = l.weights;
        for (size_t row = 0; row < l.rows; row += 2) {
            int32_t sums[2] = {l.bias[row], l.bias[row + 1]};
            for (size_t column = 0; column < l.columns; column += 4, w += 8) {
                const size_t left = l.columns - column < 4 ? l.columns - column : 4;
                for (size_t i = 0; i < left; ++i) {
                    sums[0] += w[i] * x[column + i];
                    sums[1] += w[4 + i] * x[column + i];
                }
            }
            for (size_t i = 0; i < 2 && row + i < l.rows; ++i) {
                const int shift = l.shift[row + i];
                const int32_t doubled = nmbrl_double(sums[i], shift);
                const int32_t scaled = nmbrl_rescale(doubled, l.multiplier[row + i], nmbrl_right(shift));
                const int8_t q = nmbrl_clamp(scaled + l.zero_point, l.low, l.high);
                y[row + i] = l.table ? nmbrl_look_up(l.table, q) : q;
            }
        }
    }
}

void nmbrl_dense(const nmbrl_dense_layer *layer, const int8_t *x, size_t x_stride, int8_t *y, size_t y_stride,
                 size_t n) {
    const size_t different = x_stride ? n : 1;
    nmbrl_dense_rows(layer, x, x_stride, y, y_stride, different);
    for (size_t row = different; row < n; ++row) memcpy(y + row * y_stride, y, layer->rows);
}

#if NMBRL_USE_PORTABLE
void nmbrl_dense_rows(const nmbrl_dense_layer *layer, const int8_t *x, size_t x_stride, int8_t *y, size_t y_stride,
                 size_t n) {
    nmbrl_dense_portable(layer, x, x_stride, y, y_stride, n);
}
#endif
