#include "nmbrl_fixed_point.h"
#include "nmbrl_kernels.h"
#include "nmbrl_target.h"

#if NMBRL_USE_DSP
/* Sixteen elements at a time. */
__attribute__((naked, noinline)) static void map_sixteens(__attribute__((unused)) const int8_t *table,
                                                          __attribute__((unused)) const int8_t *x,
                                                          __attribute__((unused)) int8_t *y,
                                                          __attribute__((unused)) const int8_t *end) {
    __asm__ volatile(
        "push {r4-r6, lr}\n"
        "1:\n"
        ".rept 4\n"
        "ldrb r4, [r1], #1\n"
        "ldrb r5, [r1], #1\n"
        "ldrb r6, [r1], #1\n"
        "ldrb r12, [r1], #1\n"
        "ldrb r4, [r0, r4]\n"
        "ldrb r5, [r0, r5]\n"
        "ldrb r6, [r0, r6]\n"
        "ldrb r12, [r0, r12]\n"
        "strb r4, [r2], #1\n"
        "strb r5, [r2], #1\n"
        "strb r6, [r2], #1\n"
        "strb r12, [r2], #1\n"
        ".endr\n"
        "cmp r2, r3\n"
        "bne 1b\n"
        "pop {r4-r6, pc}\n");
}

void nmbrl_map(const int8_t *table, size_t size, const int8_t *x, size_t x_stride, int8_t *y, size_t y_stride,
               size_t n) {
    nmbrl_join_rows(x_stride == size && y_stride == size, &size, &n);
    const size_t whole = size / 16 * 16;
    for (size_t row = 0; row < n; ++row, x += x_stride, y += y_stride) {
        if (whole) map_sixteens(table, x, y, y + whole);
        for (size_t i = whole; i < size; ++i) y[i] = nmbrl_look_up(table, x[i]);
    }
}
#endif
