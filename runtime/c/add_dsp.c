#include "nmbrl_kernels.h"
#include "nmbrl_target.h"

#if NMBRL_USE_DSP
#include "nmbrl_dsp.h"

/* Rows of their own functions: each loop then has a register for everything it needs. */
__attribute__((noinline)) static void add_row(const nmbrl_add_layer *l, const nmbrl_factor *f, const int8_t *a,
                                              const int8_t *b, int8_t *y) {
    const int32_t *const first = l->a, *const second = l->b;
    const int32_t multiplier = f->multiplier, offset = f->offset;
    const int right = f->right;
#pragma GCC unroll 2
    for (const int8_t *const end = y + l->size; y != end; ++a, ++b, ++y) {
        *y = (int8_t)nmbrl_apply_simple(first[(uint8_t)*a] + second[(uint8_t)*b], multiplier, offset, right);
    }
}

__attribute__((noinline)) static void add_row_and_map(const nmbrl_add_layer *l, const nmbrl_factor *f, const int8_t *a,
                                                      const int8_t *b, int8_t *y) {
    const int32_t *const first = l->a, *const second = l->b;
    const int8_t *const table = l->table;
    const int32_t multiplier = f->multiplier, offset = f->offset;
    const int right = f->right;
#pragma GCC unroll 2
    for (const int8_t *const end = y + l->size; y != end; ++a, ++b, ++y) {
        const int32_t sum = first[(uint8_t)*a] + second[(uint8_t)*b];
        *y = table[(uint8_t)nmbrl_apply_simple(sum, multiplier, offset, right)];
    }
}

static void add_row_of_any(const nmbrl_add_layer *l, const nmbrl_factor *f, const int8_t *a, const int8_t *b, int8_t *y) {
    for (size_t i = 0; i < l->size; ++i) {
        const int32_t q = nmbrl_apply(l->a[(uint8_t)a[i]] + l->b[(uint8_t)b[i]], f);
        y[i] = l->table ? l->table[(uint8_t)q] : (int8_t)q;
    }
}

void nmbrl_add(const nmbrl_add_layer *layer, const int8_t *a, size_t a_stride, const int8_t *b, size_t b_stride,
               int8_t *y, size_t y_stride, size_t n) {
    const nmbrl_factor f = nmbrl_make_factor(layer->multiplier, layer->shift, layer->zero_point, layer->low, layer->high);
    for (size_t row = 0; row < n; ++row, a += a_stride, b += b_stride, y += y_stride) {
        if (!f.simple) {
            add_row_of_any(layer, &f, a, b, y);
        } else if (layer->table) {
            add_row_and_map(layer, &f, a, b, y);
        } else {
            add_row(layer, &f, a, b, y);
        }
    }
}
#endif
