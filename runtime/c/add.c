#include "nmbrl_fixed_point.h"
#include "nmbrl_kernels.h"
#include "nmbrl_target.h"

#if NMBRL_USE_PORTABLE
void nmbrl_add(const nmbrl_add_layer *layer, const int8_t *a, size_t a_stride, const int8_t *b, size_t b_stride,
               int8_t *y, size_t y_stride, size_t n) {
    const nmbrl_add_layer l = *layer;
    for (size_t row = 0; row < n; ++row, a += a_stride, b += b_stride, y += y_stride) {
        for (size_t i = 0; i < l.size; ++i) {
            const int32_t sum = l.a[(uint8_t)a[i]] + l.b[(uint8_t)b[i]];
            const int8_t q = nmbrl_clamp(nmbrl_rescale(sum, l.multiplier, l.shift) + l.zero_point, l.low, l.high);
            y[i] = l.table ? nmbrl_look_up(l.table, q) : q;
        }
    }
}
#endif
