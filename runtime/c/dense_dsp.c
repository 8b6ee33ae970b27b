#include "nmbrl_kernels.h"
#include "nmbrl_target.h"

#if NMBRL_USE_DSP
#include "nmbrl_dsp.h"

/* A tile is a pair of rows times TILE samples, whose sums stay in registers until they are requantised. A pair's weights
 * are widened to 16 bits once and serve all samples. */
#define TILE 4
#define SAMPLES 32
#ifndef NMBRL_WIDEST
#define NMBRL_WIDEST 128 /* columns; wider layers are done in plain C */
#endif
#define BLOCKS (NMBRL_WIDEST / 4)
/* Blocks in a round of the innermost loop, and bytes of code of each. */
#define ROUND 16
#define BLOCK_CODE 88

/* For each tile, each 4 columns: twice the even columns of each sample, then twice the odd ones. */
static uint32_t inputs[SAMPLES * BLOCKS * 2];
/* Of a pair of rows, for each 4 columns: even columns of each row, then odd ones. They are made four blocks at a time. */
static uint32_t weights[(BLOCKS + 3) * 4];
/* For each sample: where its next output goes; or twice the sums of both rows. */
static int8_t *outs[SAMPLES];
static int32_t sums[SAMPLES * 2];

/* What add_up needs, in the order in which it keeps it on the stack, from the 48th byte on; before that it keeps twice the
 * biases of both rows for each sample, both multipliers and both factors. */
typedef struct {
    int32_t zero_point;
    const uint32_t *weights, *weights_end, *inputs_end;
    uint32_t skip; /* bytes of code that the first round passes over */
    void *next;    /* outs or sums of the next tile */
    const int8_t *table;
    const uint32_t *inputs;
    void *first; /* outs or sums of the first tile */
    const int8_t *packed;
    const int32_t *bias, *multiplier;
    const int8_t *shift;
    uint32_t pairs;
} rows;

/* Adds up all tiles of some pairs of rows. In C:
 *   for each pair:
 *     for each block b, row r: weights[b][r] = even bytes, weights[b][2 + r] = odd bytes of packed[pair][b][r];
 *     for each tile: sum[s][r] = bias[r]; for each block b: sum[s][r] += weights[b][r] . inputs[b][s]; finish the sums
 * The first round begins in the middle, so that any number of blocks comes out. Within rounds r0: weights, r1: inputs,
 * r2 .. r9: sums, r10, r11: weights of half a block, r12, lr: inputs of two samples.
 */
#define MULTIPLY(a, b, c, d)             \
    "ldrd r12, lr, [r1], #8\n"           \
    "smlad " a ", r10, r12, " a "\n"     \
    "smlad " b ", r11, r12, " b "\n"     \
    "smlad " c ", r10, lr, " c "\n"      \
    "smlad " d ", r11, lr, " d "\n"
#define WIDEN_WEIGHTS                    \
    "ldr r0, [sp, #84]\n"                \
    "ldrd r1, r2, [sp, #52]\n"           \
    "2:\n"                               \
    ".rept 2\n" /* two blocks */         \
    "ldm r0!, {r5, r6, r9, r10}\n"       \
    "sxtb16 r3, r5\n"                    \
    "sxtb16 r4, r6\n"                    \
    "sxtb16 r5, r5, ror #8\n"            \
    "sxtb16 r6, r6, ror #8\n"            \
    "sxtb16 r7, r9\n"                    \
    "sxtb16 r8, r10\n"                   \
    "sxtb16 r9, r9, ror #8\n"            \
    "sxtb16 r10, r10, ror #8\n"          \
    "stm r1!, {r3-r10}\n"                \
    ".endr\n"                            \
    "cmp r1, r2\n"                       \
    "blo 2b\n"                           \
    "sub r1, r1, r2\n" /* blocks too many, where their number is no multiple of 4 */ \
    "sub r0, r0, r1, lsr #1\n"           \
    "str r0, [sp, #84]\n"
#define PREPARE_PAIR                     \
    "add r12, sp, #88\n"                 \
    "ldm r12, {r0, r10, r11}\n"          \
    "ldrd r2, r3, [r0], #8\n"            \
    "ldrd r4, r5, [r10], #8\n"           \
    "ldrsb r6, [r11], #1\n"              \
    "ldrsb r7, [r11], #1\n"              \
    "stm r12, {r0, r10, r11}\n"          \
    "movw r8, #1\n"                      \
    "movt r8, #0x10\n"                   \
    "add r6, #12\n"                      \
    "add r7, #12\n"                      \
    "lsl r6, r8, r6\n"                   \
    "lsl r7, r8, r7\n"                   \
    "add r12, sp, #32\n"                 \
    "stm r12, {r4-r7}\n"                 \
    "add r2, r2, r2\n"                   \
    "add r3, r3, r3\n"                   \
    "mov r4, r2\n"                       \
    "mov r5, r3\n"                       \
    "mov r6, r2\n"                       \
    "mov r7, r3\n"                       \
    "mov r8, r2\n"                       \
    "mov r9, r3\n"                       \
    "stm sp, {r2-r9}\n"                  \
    "ldrd r1, r0, [sp, #76]\n"           \
    "str r0, [sp, #68]\n"
#define ADD_UP(name, finish)                                                                              \
    __attribute__((naked, noinline)) static void name(__attribute__((unused)) const rows *r) {           \
        __asm__ volatile(                                                                                 \
            "push {r4-r11, lr}\n"                                                                         \
            "sub sp, sp, #108\n"                                                                          \
            "add r12, sp, #48\n"                                                                          \
            "ldm r0!, {r2-r11}\n"                                                                         \
            "adr lr, 4f\n"                                                                                \
            "add r6, r6, lr\n"                                                                            \
            "orr r6, r6, #1\n"                                                                            \
            "stm r12!, {r2-r11}\n"                                                                        \
            "ldm r0, {r2-r5}\n"                                                                           \
            "stm r12, {r2-r5}\n"                                                                          \
            "1:\n" WIDEN_WEIGHTS PREPARE_PAIR                                                             \
            "3:\n" /* a tile */                                                                           \
            "ldm sp, {r2-r9}\n"                                                                           \
            "ldr r0, [sp, #52]\n"                                                                         \
            "ldr pc, [sp, #64]\n"                                                                         \
            ".p2align 2\n"                                                                                \
            "4:\n" /* a round: 16 blocks, each of two such halves */                                      \
            ".rept 32\n"                                                                                  \
            "ldrd r10, r11, [r0], #8\n" MULTIPLY("r2", "r3", "r4", "r5") MULTIPLY("r6", "r7", "r8", "r9") \
            ".endr\n"                                                                                     \
            "ldr r10, [sp, #56]\n"                                                                        \
            "cmp r0, r10\n"                                                                               \
            "bne 4b\n" finish                                                                             \
            "ldr r10, [sp, #60]\n"                                                                        \
            "cmp r1, r10\n"                                                                               \
            "bne 3b\n"                                                                                    \
            "ldr r0, [sp, #100]\n"                                                                        \
            "subs r0, #1\n"                                                                               \
            "str r0, [sp, #100]\n"                                                                        \
            "bne 1b\n"                                                                                    \
            "add sp, sp, #108\n"                                                                          \
            "pop {r4-r11, pc}\n");                                                                        \
    }

/* Requantises the sums as nmbrl_apply_short does. r0, r10: multipliers, r11, r12: factors, lr: zero point. */
#define EACH(one, other)                                          \
    one("r2") other("r3") one("r4") other("r5") one("r6") other("r7") one("r8") other("r9")
#define SCALE_ONE(a) "smmulr " a ", " a ", r0\n"
#define SCALE_OTHER(a) "smmulr " a ", " a ", r10\n"
#define SHIFT_ONE(a) "smmlar " a ", " a ", r11, lr\n"
#define SHIFT_OTHER(a) "smmlar " a ", " a ", r12, lr\n"
#define SATURATE(a) "ssat " a ", #8, " a "\n"
#define LOOK_UP(a) "ldrb " a ", [r0, " a "]\n"
#define STORE(a, b, out) "strb " a ", [" out "], #1\nstrb " b ", [" out "], #1\n"
#define REQUANTISE                     \
    "add r0, sp, #32\n"                \
    "ldm r0, {r0, r10, r11, r12, lr}\n" EACH(SCALE_ONE, SCALE_OTHER) EACH(SHIFT_ONE, SHIFT_OTHER) EACH(SATURATE, SATURATE)
#define MAP "ldr r0, [sp, #72]\n" EACH(LOOK_UP, LOOK_UP)
#define WRITE                          \
    "ldr lr, [sp, #68]\n"              \
    "ldm lr, {r0, r10, r11, r12}\n" STORE("r2", "r3", "r0") STORE("r4", "r5", "r10") STORE("r6", "r7", "r11") \
    STORE("r8", "r9", "r12")           \
    "stm lr!, {r0, r10, r11, r12}\n"   \
    "str lr, [sp, #68]\n"

ADD_UP(add_up, REQUANTISE WRITE)
ADD_UP(add_up_and_map, REQUANTISE MAP WRITE)
ADD_UP(add_up_only, "ldr r0, [sp, #68]\n"
                    "stm r0!, {r2-r9}\n"
                    "str r0, [sp, #68]\n")

/* Widens whole blocks of a tile's inputs. In C:
 *   for each block: place[s] = twice the even, place[4 + s] = twice the odd bytes of x[s]; place += 8
 * r0: place, r1 .. r4: samples, r5 .. r12: a block, lr: end of the first sample.
 */
#define WIDEN(x, even, odd)                   \
    "ldr " odd ", [" x "], #4\n"              \
    "sxtb16 " even ", " odd "\n"              \
    "sxtb16 " odd ", " odd ", ror #8\n"       \
    "sadd16 " even ", " even ", " even "\n"   \
    "sadd16 " odd ", " odd ", " odd "\n"
__attribute__((naked, noinline)) static void widen_blocks(__attribute__((unused)) uint32_t *place,
                                                          __attribute__((unused)) const int8_t *const x[TILE],
                                                          __attribute__((unused)) const int8_t *end) {
    __asm__ volatile(
        "push {r4-r11, lr}\n"
        "mov lr, r2\n"
        "ldm r1, {r1-r4}\n"
        "1:\n" WIDEN("r1", "r5", "r9") WIDEN("r2", "r6", "r10") WIDEN("r3", "r7", "r11") WIDEN("r4", "r8", "r12")
        "stm r0!, {r5-r12}\n"
        "cmp r1, lr\n"
        "bne 1b\n"
        "pop {r4-r11, pc}\n");
}

/* A word of up to 4 columns, zeros after the last. */
static uint32_t load_columns(const int8_t *x, size_t columns) {
    uint32_t word = 0;
    for (size_t i = 0; i < columns; ++i) word |= (uint32_t)(uint8_t)x[i] << (8 * i);
    return word;
}

static void widen_tile(const int8_t *const x[TILE], size_t columns, uint32_t *place) {
    const size_t whole = columns / 4 * 4;
    if (whole) widen_blocks(place, x, x[0] + whole);
    place += whole * 2;
    for (size_t s = 0; s < TILE && whole < columns; ++s) {
        const uint32_t word = load_columns(x[s] + whole, columns - whole);
        place[s] = nmbrl_double_pair(nmbrl_even_bytes(word));
        place[TILE + s] = nmbrl_double_pair(nmbrl_odd_bytes(word));
    }
}

/* What add_up does, with inputs of a single sample (for each 4 columns, even ones, odd ones), weights widened as they are
 * read, and its outputs at next. r0: packed weights, r1, r2: inputs, r4, r5: sums, r12: layer, from whose members pointers
 * advance.
 */
#define ONE_BLOCK                      \
    "ldrd r6, r7, [r0], #8\n"          \
    "ldrd r8, r9, [r1], #8\n"          \
    "sxtb16 r10, r6\n"                 \
    "sxtb16 r11, r7\n"                 \
    "smlad r4, r10, r8, r4\n"          \
    "smlad r5, r11, r8, r5\n"          \
    "sxtb16 r6, r6, ror #8\n"          \
    "sxtb16 r7, r7, ror #8\n"          \
    "smlad r4, r6, r9, r4\n"           \
    "smlad r5, r7, r9, r5\n"
__attribute__((naked, noinline)) static void add_up_one(__attribute__((unused)) rows *r) {
    __asm__ volatile(
        "push {r4-r11, lr}\n"
        "mov r12, r0\n"
        "ldr r0, [r12, #36]\n"
        "1:\n"
        "ldr r3, [r12, #40]\n"
        "ldrd r4, r5, [r3], #8\n"
        "str r3, [r12, #40]\n"
        "add r4, r4, r4\n"
        "add r5, r5, r5\n"
        "ldr r1, [r12, #28]\n"
        "ldr r2, [r12, #12]\n"
        "sub r6, r2, r1\n"
        "tst r6, #8\n"
        "beq 2f\n" ONE_BLOCK
        "cmp r1, r2\n"
        "beq 3f\n"
        "2:\n" ONE_BLOCK ONE_BLOCK
        "cmp r1, r2\n"
        "bne 2b\n"
        "3:\n"
        "ldr r3, [r12, #44]\n"
        "ldrd r6, r7, [r3], #8\n"
        "str r3, [r12, #44]\n"
        "ldr r3, [r12, #48]\n"
        "ldrsb r8, [r3], #1\n"
        "ldrsb r9, [r3], #1\n"
        "str r3, [r12, #48]\n"
        "movw r10, #1\n"
        "movt r10, #0x10\n"
        "add r8, #12\n"
        "add r9, #12\n"
        "lsl r8, r10, r8\n"
        "lsl r9, r10, r9\n"
        "ldr r10, [r12]\n"
        "smmulr r4, r4, r6\n"
        "smmulr r5, r5, r7\n"
        "smmlar r4, r4, r8, r10\n"
        "smmlar r5, r5, r9, r10\n"
        "ssat r4, #8, r4\n"
        "ssat r5, #8, r5\n"
        "ldr r6, [r12, #24]\n"
        "cbz r6, 4f\n"
        "ldrb r4, [r6, r4]\n"
        "ldrb r5, [r6, r5]\n"
        "4:\n"
        "ldr r3, [r12, #20]\n"
        "strb r4, [r3], #1\n"
        "strb r5, [r3], #1\n"
        "str r3, [r12, #20]\n"
        "ldr r3, [r12, #52]\n"
        "subs r3, #1\n"
        "str r3, [r12, #52]\n"
        "bne 1b\n"
        "pop {r4-r11, pc}\n");
}

/* Requantises one row of sums of n samples, any factor. */
static void finish_row(const nmbrl_dense_layer *l, size_t row, int8_t *y, size_t y_stride, size_t n) {
    const nmbrl_factor f = nmbrl_make_factor(l->multiplier[row], l->shift[row], l->zero_point, l->low, l->high);
    const int32_t *sum = sums + row % 2;
    for (; n > 0; --n, sum += 2, y += y_stride) {
        const int32_t q = nmbrl_apply(*sum, &f);
        y[row] = l->table ? l->table[q] : (int8_t)q;
    }
}

/* Whether add_up can requantise it. */
static int is_short(const nmbrl_dense_layer *l) {
    return nmbrl_is_short(l->least_shift, l->low, l->high) && nmbrl_is_short(l->greatest_shift, l->low, l->high);
}

/* How add_up takes pairs of rows of a layer from this row on. */
static rows take_rows(const nmbrl_dense_layer *l, size_t row, size_t pairs, const uint32_t *inputs_end, void *out) {
    const size_t blocks = (size_t)(l->columns + 3) / 4;
    const rows r = {l->zero_point,
                    weights,
                    weights + blocks * 4,
                    inputs_end,
                    (ROUND - 1 - (blocks - 1) % ROUND) * BLOCK_CODE,
                    out,
                    l->table,
                    inputs,
                    out,
                    l->weights + row * blocks * 4,
                    l->bias + row,
                    l->multiplier + row,
                    l->shift + row,
                    (uint32_t)pairs};
    return r;
}

/* Tiles of samples; the last sample fills up the last tile. */
static void dense(const nmbrl_dense_layer *l, const int8_t *x, size_t x_stride, int8_t *y, size_t y_stride, size_t n) {
    uint32_t *end = inputs;
    for (size_t first = 0; first < n; first += TILE, end += (size_t)(l->columns + 3) / 4 * TILE * 2) {
        const int8_t *tile[TILE];
        for (size_t s = 0; s < TILE; ++s) {
            const size_t sample = first + s < n ? first + s : n - 1;
            tile[s] = x + sample * x_stride;
            outs[first + s] = y + sample * y_stride;
        }
        widen_tile(tile, l->columns, end);
    }
    const size_t whole = is_short(l) ? l->rows / 2 * 2u : 0;
    if (whole) {
        const rows r = take_rows(l, 0, whole / 2, end, outs);
        if (l->table) {
            add_up_and_map(&r);
        } else {
            add_up(&r);
        }
    }
    for (size_t row = whole; row < l->rows; row += 2) {
        const rows r = take_rows(l, row, 1, end, sums);
        add_up_only(&r);
        finish_row(l, row, y, y_stride, n);
        if (row + 1 < l->rows) finish_row(l, row + 1, y, y_stride, n);
    }
}

static void dense_one(const nmbrl_dense_layer *l, const int8_t *x, int8_t *y) {
    const size_t blocks = (size_t)(l->columns + 3) / 4;
    uint32_t *end = inputs;
    for (size_t column = 0; column < l->columns; column += 4, end += 2) {
        const size_t left = l->columns - column;
        const uint32_t word = left < 4 ? load_columns(x + column, left) : nmbrl_load_word(x + column);
        end[0] = nmbrl_double_pair(nmbrl_even_bytes(word));
        end[1] = nmbrl_double_pair(nmbrl_odd_bytes(word));
    }
    const size_t whole = is_short(l) ? l->rows / 2 * 2u : 0;
    if (whole) {
        rows r = take_rows(l, 0, whole / 2, end, y);
        add_up_one(&r);
    }
    for (size_t row = whole; row < l->rows; ++row) {
        const int8_t *w = l->weights + row / 2 * blocks * 8 + row % 2 * 4;
        sums[row % 2] = 2 * l->bias[row];
        for (const uint32_t *input = inputs; input != end; input += 2, w += 8) {
            const uint32_t word = nmbrl_load_word(w);
            sums[row % 2] = nmbrl_multiply_pairs(nmbrl_even_bytes(word), input[0], sums[row % 2]);
            sums[row % 2] = nmbrl_multiply_pairs(nmbrl_odd_bytes(word), input[1], sums[row % 2]);
        }
        finish_row(l, row, y, 0, 1);
    }
}

void nmbrl_dense_rows(const nmbrl_dense_layer *layer, const int8_t *x, size_t x_stride, int8_t *y, size_t y_stride,
                 size_t n) {
    if (layer->columns > NMBRL_WIDEST || layer->greatest_shift > 0) {
        nmbrl_dense_portable(layer, x, x_stride, y, y_stride, n);
        return;
    }
    while (n > 0) {
        /* One sample more than whole tiles is done alone. */
        const size_t most = n % TILE == 1 ? n - 1 : n, samples = most < SAMPLES ? most : SAMPLES;
        if (samples == 0) {
            dense_one(layer, x, y);
            return;
        }
        dense(layer, x, x_stride, y, y_stride, samples);
        n -= samples;
        x += samples * x_stride;
        y += samples * y_stride;
    }
}
#endif
