#include "nmbrl_kernels.h"
#include "nmbrl_target.h"

#if NMBRL_USE_DSP
#include "nmbrl_dsp.h"

/* What multiply_words needs, in the order of the registers that take it. */
typedef struct {
    const int8_t *a, *b;
    int8_t *y, *end;
    uint32_t minus_a_zero, minus_b_zero; /* as pairs of 16-bit numbers */
    int32_t multiplier, factor, zero_point;
} operands;

/* Four elements at a time, requantised as nmbrl_apply_short does. */
#define EACH(one) one("lr") one("r11") one("r9") one("r10")
#define SCALE(x) "smmulr " x ", " x ", r6\n"
#define SHIFT(x) "smmlar " x ", " x ", r7, r8\n"
#define SATURATE(x) "ssat " x ", #8, " x "\n"
#define STORE(x) "strb " x ", [r2], #1\n"
__attribute__((naked, noinline)) static void multiply_words(__attribute__((unused)) const operands *o) {
    __asm__ volatile(
        "push {r4-r11, lr}\n"
        "ldm r0, {r0-r8}\n"
        "1:\n"
        "ldr r9, [r0], #4\n"
        "ldr r11, [r1], #4\n"
        "sxtab16 r10, r4, r9, ror #8\n"
        "sxtab16 r9, r4, r9\n"
        "sxtab16 r12, r5, r11, ror #8\n"
        "sxtab16 r11, r5, r11\n"
        "sadd16 r9, r9, r9\n"
        "sadd16 r10, r10, r10\n"
        "smulbb lr, r9, r11\n"
        "smultt r9, r9, r11\n"
        "smulbb r11, r10, r12\n"
        "smultt r10, r10, r12\n" EACH(SCALE) EACH(SHIFT) EACH(SATURATE) EACH(STORE)
        "cmp r2, r3\n"
        "bne 1b\n"
        "pop {r4-r11, pc}\n");
}

static void multiply_row_of_any(const nmbrl_multiply_layer *l, const nmbrl_factor *f, const int8_t *a, const int8_t *b,
                                int8_t *y, size_t size) {
    for (size_t i = 0; i < size; ++i) {
        const int32_t q = nmbrl_apply(nmbrl_double((a[i] - l->a_zero) * (b[i] - l->b_zero), l->shift), f);
        y[i] = l->table ? l->table[q] : (int8_t)q;
    }
}

static uint32_t pair_of(int x) { return (uint32_t)x << 16 | (uint16_t)x; }

void nmbrl_multiply(const nmbrl_multiply_layer *layer, const int8_t *a, size_t a_stride, const int8_t *b,
                    size_t b_stride, int8_t *y, size_t y_stride, size_t n) {
    const nmbrl_factor f = nmbrl_make_factor(layer->multiplier, layer->shift, layer->zero_point, layer->low, layer->high);
    const int fast = nmbrl_is_short(layer->shift, layer->low, layer->high) && !layer->table;
    size_t size = layer->size;
    nmbrl_join_rows(a_stride == size && b_stride == size && y_stride == size, &size, &n);
    const size_t whole = fast ? size / 4 * 4 : 0, rest = size - whole;
    operands o = {NULL, NULL, NULL, NULL, pair_of(-layer->a_zero), pair_of(-layer->b_zero), layer->multiplier,
                  fast ? nmbrl_short_factor(layer->shift) : 0, layer->zero_point};
    for (size_t row = 0; row < n; ++row, a += a_stride, b += b_stride, y += y_stride) {
        if (whole) {
            o.a = a;
            o.b = b;
            o.y = y;
            o.end = y + whole;
            multiply_words(&o);
        }
        if (rest) multiply_row_of_any(layer, &f, a + whole, b + whole, y + whole, rest);
    }
}
#endif
