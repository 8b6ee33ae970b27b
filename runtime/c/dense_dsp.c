#include "nmbrl_kernels.h"
#include "nmbrl_target.h"

#if NMBRL_USE_DSP
#include "nmbrl_dsp.h"

/* A tile is a pair of rows times TILE samples. A pair's weights are widened to 16 bits once and serve all samples. */
#define TILE 3
#define SAMPLES 24
#ifndef NMBRL_WIDEST
#define NMBRL_WIDEST 128 /* columns; wider layers are done in plain C */
#endif
#define BLOCKS (NMBRL_WIDEST / 4)

/* For each tile, each 4 columns, each sample: pairs of twice the even and twice the odd columns. */
static uint32_t inputs[SAMPLES * BLOCKS * 2];
/* For each 4 columns, each row of a pair: even and odd columns. */
static uint32_t weights[BLOCKS * 4];
/* For each sample: twice the sums of both rows. */
static int32_t sums[SAMPLES * 2];

typedef struct {
    int32_t bias[2];            /* doubled */
    const uint32_t *weights;    /* what the tiles read, */
    const uint32_t *unrolled;   /* where the part of 4 blocks at a time ends, */
    const uint32_t *end;        /* and where all does */
    int32_t *sums;              /* advances */
    const uint32_t *inputs_end; /* last of the inputs */
} pair_of_rows;

/* Adds up all tiles of a pair of rows. In C:
 *   for each tile: sum[s][r] = bias[r]; for each block b: sum[s][r] += weights[b][r] . inputs[b][s]; store the sums.
 * r0: weights, r1: inputs, r2 .. r7: sums, r8 .. r11: weights of a block, r12 and lr: inputs of a sample.
 */
#define SAMPLE(a, b)                    \
    "ldrd r12, lr, [r1], #8\n"          \
    "smlad " a ", r8, r12, " a "\n"     \
    "smlad " b ", r10, r12, " b "\n"    \
    "smlad " a ", r9, lr, " a "\n"      \
    "smlad " b ", r11, lr, " b "\n"
#define BLOCK "ldmia r0!, {r8, r9, r10, r11}\n" SAMPLE("r2", "r3") SAMPLE("r4", "r5") SAMPLE("r6", "r7")

__attribute__((naked, noinline)) static void add_up(__attribute__((unused)) const pair_of_rows *pair,
                                                    __attribute__((unused)) const uint32_t *first_input) {
    __asm__ volatile(
        "push {r4-r11, lr}\n"
        "sub sp, sp, #28\n"
        "ldmia r0, {r2-r8}\n"
        "stmia sp, {r2-r8}\n"
        "1:\n" /* a tile */
        "ldrd r2, r3, [sp]\n"
        "ldrd r0, r8, [sp, #8]\n"
        "mov r4, r2\n"
        "mov r5, r3\n"
        "mov r6, r2\n"
        "mov r7, r3\n"
        "cmp r0, r8\n"
        "beq 3f\n"
        "2:\n" BLOCK BLOCK BLOCK BLOCK
        "ldr r12, [sp, #12]\n"
        "cmp r0, r12\n"
        "bne 2b\n"
        "3:\n"
        "ldr r12, [sp, #16]\n"
        "cmp r0, r12\n"
        "beq 4f\n" BLOCK
        "b 3b\n"
        "4:\n"
        "ldrd r0, r12, [sp, #20]\n"
        "stmia r0!, {r2-r7}\n"
        "str r0, [sp, #20]\n"
        "cmp r1, r12\n"
        "bne 1b\n"
        "add sp, sp, #28\n"
        "pop {r4-r11, pc}\n");
}

/* Widens a sample to its place in the inputs; step: words from 4 columns to the next. */
static void widen_inputs(const int8_t *x, size_t columns, uint32_t *place, size_t step) {
    size_t column = 0;
    for (; column + 4 <= columns; column += 4, place += step) {
        const uint32_t word = nmbrl_load_word(x + column);
        place[0] = nmbrl_double_pair(nmbrl_even_bytes(word));
        place[1] = nmbrl_double_pair(nmbrl_odd_bytes(word));
    }
    if (column < columns) {
        int8_t rest[4] = {0, 0, 0, 0};
        for (size_t i = 0; column + i < columns; ++i) rest[i] = x[column + i];
        const uint32_t word = nmbrl_load_word(rest);
        place[0] = nmbrl_double_pair(nmbrl_even_bytes(word));
        place[1] = nmbrl_double_pair(nmbrl_odd_bytes(word));
    }
}

/* Widens a pair's weights; end: of its packed weights. In C:
 *   for each block: place[0], place[1] = even and odd bytes of the first row's word, place[2], place[3] of the second's
 */
__attribute__((naked, noinline)) static void widen_weights(__attribute__((unused)) const int8_t *w,
                                                           __attribute__((unused)) uint32_t *place,
                                                           __attribute__((unused)) const int8_t *end) {
    __asm__ volatile(
        "push {r4-r8, lr}\n"
        "1:\n"
        "ldrd r3, r4, [r0], #8\n"
        "sxtb16 r5, r3\n"
        "sxtb16 r6, r3, ror #8\n"
        "sxtb16 r7, r4\n"
        "sxtb16 r8, r4, ror #8\n"
        "stmia r1!, {r5-r8}\n"
        "cmp r0, r2\n"
        "bne 1b\n"
        "pop {r4-r8, pc}\n");
}

/* What finish_pair needs, in the order of the registers that take it. */
typedef struct {
    const int32_t *sums, *end;
    int8_t *y;
    size_t y_stride;
    int32_t multiplier[2], offset[2];
    int right[2];
    const int8_t *table;
} outputs;

/* Requantises a pair of rows of all samples, as nmbrl_apply_simple does. */
#define FINISH(name, look_up)                                                                       \
    __attribute__((naked, noinline)) static void name(__attribute__((unused)) const outputs *o) {  \
        __asm__ volatile(                                                                           \
            "push {r4-r11, lr}\n"                                                                   \
            "ldmia r0, {r0-r10}\n"                                                                  \
            "1:\n"                                                                                  \
            "ldrd r11, r12, [r0], #8\n"                                                             \
            "smmulr r11, r11, r4\n"                                                                 \
            "smmulr r12, r12, r5\n"                                                                 \
            "add lr, r11, r6\n"                                                                     \
            "add r11, lr, r11, asr #31\n"                                                           \
            "add lr, r12, r7\n"                                                                     \
            "add r12, lr, r12, asr #31\n"                                                           \
            "asr r11, r11, r8\n"                                                                    \
            "asr r12, r12, r9\n"                                                                    \
            "ssat r11, #8, r11\n"                                                                   \
            "ssat r12, #8, r12\n" look_up                                                           \
            "strb r11, [r2]\n"                                                                      \
            "strb r12, [r2, #1]\n"                                                                  \
            "add r2, r3\n"                                                                          \
            "cmp r0, r1\n"                                                                          \
            "bne 1b\n"                                                                              \
            "pop {r4-r11, pc}\n");                                                                  \
    }

FINISH(finish_pair, "")
FINISH(finish_pair_and_map, "uxtb r11, r11\n"
                            "uxtb r12, r12\n"
                            "ldrb r11, [r10, r11]\n"
                            "ldrb r12, [r10, r12]\n")

/* The same of one row, for any factor. */
static void finish_row(const nmbrl_dense_layer *l, size_t row, const nmbrl_factor *f, int8_t *y, size_t y_stride,
                       size_t n) {
    const int32_t *sum = sums + row % 2;
    for (; n > 0; --n, sum += 2, y += y_stride) {
        const int32_t q = nmbrl_apply(*sum, f);
        y[row] = l->table ? l->table[(uint8_t)q] : (int8_t)q;
    }
}

static void finish(const nmbrl_dense_layer *l, size_t row, int8_t *y, size_t y_stride, size_t n) {
    nmbrl_factor f[2];
    for (size_t i = 0; i < 2; ++i) {
        f[i] = nmbrl_make_factor(l->multiplier[row + i], l->shift[row + i], l->zero_point, l->low, l->high);
    }
    if (row + 1 < l->rows && f[0].simple && f[1].simple) {
        const outputs o = {sums, sums + 2 * n, y + row, y_stride, {f[0].multiplier, f[1].multiplier},
                           {f[0].offset, f[1].offset}, {f[0].right, f[1].right}, l->table};
        if (l->table) {
            finish_pair_and_map(&o);
        } else {
            finish_pair(&o);
        }
    } else {
        finish_row(l, row, &f[0], y, y_stride, n);
        if (row + 1 < l->rows) finish_row(l, row + 1, &f[1], y, y_stride, n);
    }
}

static void dense(const nmbrl_dense_layer *l, const int8_t *x, size_t x_stride, int8_t *y, size_t y_stride, size_t n) {
    const size_t blocks = (size_t)(l->columns + 3) / 4, tiles = (n + TILE - 1) / TILE;
    for (size_t sample = 0; sample < n; ++sample) {
        uint32_t *const place = inputs + (sample / TILE * blocks * TILE + sample % TILE) * 2;
        widen_inputs(x + sample * x_stride, l->columns, place, 2 * TILE);
    }
    for (size_t row = 0; row < l->rows; row += 2) {
        widen_weights(l->weights + row * blocks * 4, weights, l->weights + (row + 2) * blocks * 4);
        const pair_of_rows pair = {{2 * l->bias[row], 2 * l->bias[row + 1]},
                                   weights,
                                   weights + blocks / 4 * 16,
                                   weights + blocks * 4,
                                   sums,
                                   inputs + tiles * blocks * TILE * 2};
        add_up(&pair, inputs);
        finish(l, row, y, y_stride, n);
    }
}

/* A single sample: weights are widened as they are read. */
static void dense_one(const nmbrl_dense_layer *l, const int8_t *x, int8_t *y) {
    const size_t blocks = (size_t)(l->columns + 3) / 4;
    const int8_t *w = l->weights;
    widen_inputs(x, l->columns, inputs, 2);
    for (size_t row = 0; row < l->rows; row += 2) {
        int32_t first = 2 * l->bias[row], second = 2 * l->bias[row + 1];
        const uint32_t *input = inputs;
        for (const uint32_t *const end = inputs + 2 * blocks; input != end; input += 2, w += 8) {
            const uint32_t one = nmbrl_load_word(w), other = nmbrl_load_word(w + 4);
            first = nmbrl_multiply_pairs(nmbrl_even_bytes(one), input[0], first);
            second = nmbrl_multiply_pairs(nmbrl_even_bytes(other), input[0], second);
            first = nmbrl_multiply_pairs(nmbrl_odd_bytes(one), input[1], first);
            second = nmbrl_multiply_pairs(nmbrl_odd_bytes(other), input[1], second);
        }
        sums[0] = first;
        sums[1] = second;
        finish(l, row, y, 0, 1);
    }
}

void nmbrl_dense(const nmbrl_dense_layer *layer, const int8_t *x, size_t x_stride, int8_t *y, size_t y_stride,
                 size_t n) {
    if (layer->columns > NMBRL_WIDEST || layer->shifts_left) {
        nmbrl_dense_portable(layer, x, x_stride, y, y_stride, n);
        return;
    }
    for (; n > SAMPLES; n -= SAMPLES, x += SAMPLES * x_stride, y += SAMPLES * y_stride) {
        dense(layer, x, x_stride, y, y_stride, SAMPLES);
    }
    if (n == 1) {
        dense_one(layer, x, y);
    } else {
        dense(layer, x, x_stride, y, y_stride, n);
    }
}
#endif
