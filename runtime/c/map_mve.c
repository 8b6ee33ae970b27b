#include "nmbrl_kernels.h"
#include "nmbrl_target.h"

#if NMBRL_USE_MVE
#include "nmbrl_mve.h"

void nmbrl_map(const int8_t *table, size_t size, const int8_t *x, size_t x_stride, int8_t *y, size_t y_stride,
               size_t n) {
    nmbrl_join_rows(x_stride == size && y_stride == size, &size, &n);
    for (size_t row = 0; row < n; ++row, x += x_stride, y += y_stride) {
        const uint8_t *from = (const uint8_t *)x;
        int8_t *to = y;
        int32_t left = (int32_t)size;
        for (; left > 0; left -= 16, from += 16, to += 16) {
            const mve_pred16_t inside = vctp8q((uint32_t)left);
            const uint8x16_t index = vldrbq_z_u8(from, inside);
            vstrbq_p_s8(to, vldrbq_gather_offset_z_s8(table, index, inside), inside);
        }
    }
}
#endif
