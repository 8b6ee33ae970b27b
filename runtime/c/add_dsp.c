#include "nmbrl_kernels.h"
#include "nmbrl_target.h"

#if NMBRL_USE_DSP
#include "nmbrl_dsp.h"

/* What add_fours needs, in the order of the registers that take it. */
typedef struct {
    const int8_t *a, *b;
    int8_t *y, *end;
    const int32_t *a_table, *b_table;
    int32_t multiplier, offset;
    int right;
    const int8_t *table;
} operands;

/* Four elements at a time, requantised as nmbrl_apply_simple does. */
#define ONE(sum, scaled, look_up)                      \
    "ldrb " sum ", [r0], #1\n"                         \
    "ldrb " scaled ", [r1], #1\n"                      \
    "ldr " sum ", [r4, " sum ", lsl #2]\n"             \
    "ldr " scaled ", [r5, " scaled ", lsl #2]\n"       \
    "add " sum ", " sum ", " scaled "\n"               \
    "smmlar " scaled ", " sum ", r6, r7\n"             \
    "add " scaled ", " scaled ", " sum ", asr #31\n"   \
    "asr " scaled ", " scaled ", r8\n"                 \
    "ssat " scaled ", #8, " scaled "\n" look_up        \
    "strb " scaled ", [r2], #1\n"
#define LOOK_UP(x) "ldrb " x ", [r9, " x "]\n"
#define ADD_FOURS(name, first, second)                                                           \
    __attribute__((naked, noinline)) static void name(__attribute__((unused)) const operands *o) { \
        __asm__ volatile(                                                                        \
            "push {r4-r11, lr}\n"                                                                \
            "ldm r0, {r0-r9}\n"                                                                  \
            "1:\n"                                                                               \
            ".rept 2\n" ONE("r10", "r11", first) ONE("r12", "lr", second)                        \
            ".endr\n"                                                                            \
            "cmp r2, r3\n"                                                                       \
            "bne 1b\n"                                                                           \
            "pop {r4-r11, pc}\n");                                                               \
    }

ADD_FOURS(add_fours, "", "")
ADD_FOURS(add_fours_and_map, LOOK_UP("r11"), LOOK_UP("lr"))

static void add_row_of_any(const nmbrl_add_layer *l, const nmbrl_factor *f, const int8_t *a, const int8_t *b, int8_t *y,
                           size_t size) {
    for (size_t i = 0; i < size; ++i) {
        const int32_t q = nmbrl_apply(l->a[(uint8_t)a[i]] + l->b[(uint8_t)b[i]], f);
        y[i] = l->table ? l->table[q] : (int8_t)q;
    }
}

void nmbrl_add(const nmbrl_add_layer *layer, const int8_t *a, size_t a_stride, const int8_t *b, size_t b_stride,
               int8_t *y, size_t y_stride, size_t n) {
    const nmbrl_factor f = nmbrl_make_factor(layer->multiplier, layer->shift, layer->zero_point, layer->low, layer->high);
    size_t size = layer->size;
    nmbrl_join_rows(a_stride == size && b_stride == size && y_stride == size, &size, &n);
    const size_t whole = f.simple ? size / 4 * 4 : 0, rest = size - whole;
    operands o = {NULL, NULL, NULL, NULL, layer->a, layer->b, f.multiplier, f.offset, f.right, layer->table};
    for (size_t row = 0; row < n; ++row, a += a_stride, b += b_stride, y += y_stride) {
        o.a = a;
        o.b = b;
        o.y = y;
        o.end = y + whole;
        if (whole && layer->table) {
            add_fours_and_map(&o);
        } else if (whole) {
            add_fours(&o);
        }
        if (rest) add_row_of_any(layer, &f, a + whole, b + whole, y + whole, rest);
    }
}
#endif
