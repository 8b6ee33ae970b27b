#include "nmbrl_kernels.h"
#include "nmbrl_target.h"

#if NMBRL_USE_DSP
#include "nmbrl_dsp.h"

/* A row in a function of its own: the loop then has a register for everything it needs. */
__attribute__((noinline)) static void multiply_row(const nmbrl_multiply_layer *l, const nmbrl_factor *f, const int8_t *a,
                                                   const int8_t *b, int8_t *y) {
    const int32_t multiplier = f->multiplier, offset = f->offset, a_zero = l->a_zero, b_zero = l->b_zero;
    const int right = f->right;
#pragma GCC unroll 2
    for (const int8_t *const end = y + l->size; y != end; ++a, ++b, ++y) {
        *y = (int8_t)nmbrl_apply_simple(2 * ((*a - a_zero) * (*b - b_zero)), multiplier, offset, right);
    }
}

static void multiply_row_of_any(const nmbrl_multiply_layer *l, const nmbrl_factor *f, const int8_t *a, const int8_t *b,
                                int8_t *y) {
    for (size_t i = 0; i < l->size; ++i) {
        const int32_t q = nmbrl_apply(nmbrl_double((a[i] - l->a_zero) * (b[i] - l->b_zero), l->shift), f);
        y[i] = l->table ? l->table[(uint8_t)q] : (int8_t)q;
    }
}

void nmbrl_multiply(const nmbrl_multiply_layer *layer, const int8_t *a, size_t a_stride, const int8_t *b,
                    size_t b_stride, int8_t *y, size_t y_stride, size_t n) {
    const nmbrl_factor f = nmbrl_make_factor(layer->multiplier, layer->shift, layer->zero_point, layer->low, layer->high);
    for (size_t row = 0; row < n; ++row, a += a_stride, b += b_stride, y += y_stride) {
        if (f.simple && !layer->table) {
            multiply_row(layer, &f, a, b, y);
        } else {
            multiply_row_of_any(layer, &f, a, b, y);
        }
    }
}
#endif
