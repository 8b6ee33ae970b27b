#include <string.h>

#include "nmbrl_fixed_point.h"
#include "nmbrl_kernels.h"
#include "nmbrl_target.h"

#if !NMBRL_USE_MVE && !NMBRL_USE_DSP && !NMBRL_USE_AVX512_BYTES
void nmbrl_map(const int8_t *table, size_t size, const int8_t *x, size_t x_stride, int8_t *y, size_t y_stride,
               size_t n) {
    nmbrl_join_rows(x_stride == size && y_stride == size, &size, &n);
    for (size_t row = 0; row < n; ++row, x += x_stride, y += y_stride) {
#pragma GCC unroll 4
        for (size_t i = 0; i < size; ++i) y[i] = nmbrl_look_up(table, x[i]);
    }
}
#endif

void nmbrl_copy(size_t size, const int8_t *x, size_t x_stride, int8_t *y, size_t y_stride, size_t n) {
    for (size_t row = 0; row < n; ++row, x += x_stride, y += y_stride) memcpy(y, x, size);
}
