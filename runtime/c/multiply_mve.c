#include "nmbrl_kernels.h"
#include "nmbrl_target.h"

#if NMBRL_USE_MVE
#include "nmbrl_fixed_point.h"
#include "nmbrl_mve.h"

static void multiply_row(const nmbrl_multiply_layer *l, const int8_t *a, const int8_t *b, int8_t *y) {
    const int32x4_t low = vdupq_n_s32(l->low), high = vdupq_n_s32(l->high);
    const int32x4_t shift = vdupq_n_s32(nmbrl_right(l->shift));
    const int32_t a_zero = l->a_zero, b_zero = l->b_zero, zero_point = l->zero_point, multiplier = l->multiplier;
    const int32_t up = l->shift > 0 ? l->shift : 0;
    int32_t left = l->size;
    for (; left > 0; left -= 4, a += 4, b += 4, y += 4) {
        const mve_pred16_t inside = vctp32q((uint32_t)left);
        const int32x4_t one = vsubq_n_s32(vldrbq_z_s32(a, inside), a_zero);
        const int32x4_t other = vsubq_n_s32(vldrbq_z_s32(b, inside), b_zero);
        const int32x4_t scaled = vqrdmulhq_n_s32(vshlq_r_s32(vmulq_s32(one, other), up), multiplier);
        vstrbq_p_s32(y, nmbrl_limit(nmbrl_shift_lanes(scaled, shift), zero_point, low, high), inside);
    }
}

void nmbrl_multiply(const nmbrl_multiply_layer *layer, const int8_t *a, size_t a_stride, const int8_t *b,
                    size_t b_stride, int8_t *y, size_t y_stride, size_t n) {
    for (size_t row = 0; row < n; ++row) multiply_row(layer, a + row * a_stride, b + row * b_stride, y + row * y_stride);
    if (layer->table) nmbrl_map(layer->table, layer->size, y, y_stride, y, y_stride, n);
}
#endif
