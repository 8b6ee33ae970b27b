#include "nmbrl_fixed_point.h"
#include "nmbrl_kernels.h"
#include "nmbrl_target.h"

#if NMBRL_USE_PORTABLE
void nmbrl_multiply(const nmbrl_multiply_layer *layer, const int8_t *a, size_t a_stride, const int8_t *b,
                    size_t b_stride, int8_t *y, size_t y_stride, size_t n) {
    const nmbrl_multiply_layer l = *layer;
    for (size_t row = 0; row < n; ++row, a += a_stride, b += b_stride, y += y_stride) {
        for (size_t i = 0; i < l.size; ++i) {
            const int32_t product = (int32_t)(a[i] - l.a_zero) * (b[i] - l.b_zero);
            const int32_t scaled = nmbrl_rescale(nmbrl_double(product, l.shift), l.multiplier, nmbrl_right(l.shift));
            const int8_t q = nmbrl_clamp(scaled + l.zero_point, l.low, l.high);
            y[i] = l.table ? nmbrl_look_up(l.table, q) : q;
        }
    }
}
#endif
