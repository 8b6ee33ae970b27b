#include "nmbrl_kernels.h"
#include "nmbrl_target.h"

#if NMBRL_USE_MVE
#include "nmbrl_mve.h"

static void add_row(const nmbrl_add_layer *l, const int8_t *a, const int8_t *b, int8_t *y) {
    const int32x4_t low = vdupq_n_s32(l->low), high = vdupq_n_s32(l->high), shift = vdupq_n_s32(l->shift);
    const int32x4_t multiplier = vdupq_n_s32(l->multiplier);
    const int32_t *const a_table = l->a, *const b_table = l->b;
    const int32_t zero_point = l->zero_point;
    const uint8_t *first = (const uint8_t *)a, *second = (const uint8_t *)b;
    int32_t left = l->size;
    for (; left > 0; left -= 4, first += 4, second += 4, y += 4) {
        const mve_pred16_t inside = vctp32q((uint32_t)left);
        const int32x4_t one = vldrwq_gather_shifted_offset_z_s32(a_table, vldrbq_z_u32(first, inside), inside);
        const int32x4_t other = vldrwq_gather_shifted_offset_z_s32(b_table, vldrbq_z_u32(second, inside), inside);
        const int32x4_t scaled = vrmulhq_s32(vaddq_s32(one, other), multiplier);
        vstrbq_p_s32(y, nmbrl_limit(nmbrl_shift_lanes(scaled, shift), zero_point, low, high), inside);
    }
}

void nmbrl_add(const nmbrl_add_layer *layer, const int8_t *a, size_t a_stride, const int8_t *b, size_t b_stride,
               int8_t *y, size_t y_stride, size_t n) {
    for (size_t row = 0; row < n; ++row) add_row(layer, a + row * a_stride, b + row * b_stride, y + row * y_stride);
    if (layer->table) nmbrl_map(layer->table, layer->size, y, y_stride, y, y_stride, n);
}
#endif
