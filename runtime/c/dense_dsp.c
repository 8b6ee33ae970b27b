#include "nmbrl_target.h"

#if NMBRL_USE_DSP
#include "nmbrl_dsp.h"
#include "nmbrl_kernels.h"

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

/* Widens a sample to its place in the inputs. */
static void widen_inputs(const int8_t *x, size_t columns, uint32_t *place) {
    size_t column = 0;
    for (; column + 4 <= columns; column += 4, place += 2 * TILE) {
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

static void widen_weights(const int8_t *w, size_t blocks) {
    uint32_t *place = weights;
    for (size_t block = 0; block < blocks; ++block, w += 8, place += 4) {
        const uint32_t first = nmbrl_load_word(w), second = nmbrl_load_word(w + 4);
        place[0] = nmbrl_even_bytes(first);
        place[1] = nmbrl_odd_bytes(first);
        place[2] = nmbrl_even_bytes(second);
        place[3] = nmbrl_odd_bytes(second);
    }
}

/* Requantises one row of all samples. */
__attribute__((noinline)) static void finish_row(const nmbrl_dense_layer *l, size_t row, int8_t *y, size_t y_stride,
                                                 size_t n) {
    const nmbrl_factor f = nmbrl_make_factor(l->multiplier[row], l->shift[row], l->zero_point, l->low, l->high);
    const int32_t multiplier = f.multiplier, offset = f.offset;
    const int right = f.right;
    const int8_t *const table = l->table;
    const int32_t *sum = sums + row % 2, *const end = sum + 2 * n;
    y += row;
    if (f.simple && table) {
        for (; sum != end; sum += 2, y += y_stride) {
            *y = table[(uint8_t)nmbrl_apply_simple(*sum, multiplier, offset, right)];
        }
    } else if (f.simple) {
        for (; sum != end; sum += 2, y += y_stride) *y = (int8_t)nmbrl_apply_simple(*sum, multiplier, offset, right);
    } else {
        for (; sum != end; sum += 2, y += y_stride) {
            const int32_t q = nmbrl_apply(*sum, &f);
            *y = table ? table[(uint8_t)q] : (int8_t)q;
        }
    }
}

static void dense(const nmbrl_dense_layer *l, const int8_t *x, size_t x_stride, int8_t *y, size_t y_stride, size_t n) {
    const size_t blocks = (size_t)(l->columns + 3) / 4, tiles = (n + TILE - 1) / TILE;
    for (size_t sample = 0; sample < n; ++sample) {
        uint32_t *const place = inputs + (sample / TILE * blocks * TILE + sample % TILE) * 2;
        widen_inputs(x + sample * x_stride, l->columns, place);
    }
    for (size_t row = 0; row < l->rows; row += 2) {
        widen_weights(l->weights + row * blocks * 4, blocks);
        const pair_of_rows pair = {{2 * l->bias[row], 2 * l->bias[row + 1]},
                                   weights,
                                   weights + blocks / 4 * 16,
                                   weights + blocks * 4,
                                   sums,
                                   inputs + tiles * blocks * TILE * 2};
        add_up(&pair, inputs);
        finish_row(l, row, y, y_stride, n);
        if (row + 1 < l->rows) finish_row(l, row + 1, y, y_stride, n);
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
    dense(layer, x, x_stride, y, y_stride, n);
}
#endif
