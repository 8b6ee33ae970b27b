#include "nmbrl_kernels.h"
#include "nmbrl_target.h"

#if NMBRL_USE_MVE
#include "nmbrl_mve.h"

/* A tile is a pair of rows times TILE samples, whose eight sums take every even core register. */
#define TILE 4
#ifndef NMBRL_WIDEST
#define NMBRL_WIDEST 128 /* columns; wider layers are done in plain C */
#endif
#ifndef NMBRL_TALLEST
#define NMBRL_TALLEST 256 /* rows; taller layers are done in plain C */
#endif

/* For each 16 columns, each sample: 16 inputs, zeros after the last. */
static int8_t inputs[TILE * NMBRL_WIDEST] NMBRL_ALIGNED;
/* For each pair of rows, each sample: the biases of both, and their sums. */
static int32_t biases[(NMBRL_TALLEST + 1) / 2 * 2 * TILE] NMBRL_ALIGNED;
static int32_t sums[(NMBRL_TALLEST + 3) / 4 * 4 * TILE] NMBRL_ALIGNED;

/* Copies a tile's inputs to their places. In C:
 *   for each block b of 16 columns, sample s: inputs[b][s] = those columns of x[s] that there are
 */
__attribute__((naked, noinline)) static void arrange(__attribute__((unused)) const int8_t *const x[TILE],
                                                     __attribute__((unused)) size_t columns,
                                                     __attribute__((unused)) int8_t *place) {
    __asm__ volatile(
        "push {r4, r5, r6, lr}\n"
        "mov r6, r2\n"
        "ldm r0, {r2-r5}\n"
        "dlstp.8 lr, r1\n"
        "1:\n"
        "vldrb.u8 q0, [r2], #16\n"
        "vstrb.8 q0, [r6], #16\n"
        "vldrb.u8 q1, [r3], #16\n"
        "vstrb.8 q1, [r6], #16\n"
        "vldrb.u8 q0, [r4], #16\n"
        "vstrb.8 q0, [r6], #16\n"
        "vldrb.u8 q1, [r5], #16\n"
        "vstrb.8 q1, [r6], #16\n"
        "letp lr, 1b\n"
        "pop {r4, r5, r6, pc}\n");
}

static void arrange_inputs(const int8_t *const x[TILE], size_t columns) {
    if (columns % 16) {
        int8_t *const last = inputs + columns / 16 * 16 * TILE;
        for (size_t s = 0; s < TILE; ++s) vst1q_s8(last + s * 16, vdupq_n_s8(0));
    }
    arrange(x, columns, inputs);
}

/* Adds up all pairs of rows for a tile. In C:
 *   for each pair p: for each block b, sample s, row r of the pair:
 *     sums[p][s][r] = biases[p][s][r] + weights[p][b][r] . inputs[b][s]
 * r1: weights, r3: inputs, r5: sums, r7: skip or blocks left, r9: pairs left, r11: biases; a block is 16 columns. The first
 * five of the inputs stay in q3 .. q7. Two pairs a round; of an odd number of pairs the first one enters in the middle.
 */
typedef struct {
    const int8_t *weights;
    const int8_t *inputs;
    int32_t *sums;
    const int32_t *biases;
    uint32_t pairs;
    int32_t skip;    /* from the end of a pair's last block to the next pair's weights */
    uint32_t blocks; /* beyond the first two */
} tile;

#define WEIGHTS                    \
    "vld20.32 {q0, q1}, [r1]\n"    \
    "vld21.32 {q0, q1}, [r1]!\n"
#define KEPT(multiply, a, b, x) multiply " " a ", q0, " x "\n" multiply " " b ", q1, " x "\n"
#define LOADED(a, b, place) "vldrw.32 q2, " place "\n" KEPT("vmlava.s8", a, b, "q2")
#define FIRST                                  \
    WEIGHTS KEPT("vmlava.s8", "r0", "r2", "q3") \
    KEPT("vmlava.s8", "r4", "r6", "q4")         \
    KEPT("vmlava.s8", "r8", "r10", "q5")        \
    KEPT("vmlava.s8", "r12", "lr", "q6")
#define SECOND                                  \
    WEIGHTS KEPT("vmlava.s8", "r0", "r2", "q7") \
    LOADED("r4", "r6", "[r3, #80]")             \
    LOADED("r8", "r10", "[r3, #96]")            \
    LOADED("r12", "lr", "[r3, #112]")
#define NEXT(one, two, three, four)            \
    WEIGHTS LOADED("r0", "r2", "[r3, #" one "]") \
    LOADED("r4", "r6", "[r3, #" two "]")       \
    LOADED("r8", "r10", "[r3, #" three "]")    \
    LOADED("r12", "lr", "[r3, #" four "]")
#define FOURTH NEXT("128", "144", "160", "176") NEXT("192", "208", "224", "240")
#define FIFTH NEXT("256", "272", "288", "304")
#define EIGHTH NEXT("320", "336", "352", "368") NEXT("384", "400", "416", "432") NEXT("448", "464", "480", "496")
#define REST(label) SECOND                     \
    "ldr r7, [sp, #4]\n"                       \
    "add r3, #128\n"                           \
    label ":\n" WEIGHTS                        \
    LOADED("r0", "r2", "[r3], #16")            \
    LOADED("r4", "r6", "[r3], #16")            \
    LOADED("r8", "r10", "[r3], #16")           \
    LOADED("r12", "lr", "[r3], #16")           \
    "subs r7, #1\n"                            \
    "bne " label "b\n"                         \
    "ldr r3, [sp, #8]\n"                       \
    "ldr r7, [sp]\n"

#define PAIR(rest, step)                                 \
    "ldm r11!, {r0, r2, r4, r6, r8, r10, r12, lr}\n" FIRST rest \
    "stm r5!, {r0, r2, r4, r6, r8, r10, r12, lr}\n" step
#define STEP "add r1, r7\n"
#define ADD_UP(name, rest, step)                                                            \
    __attribute__((naked, noinline)) static void name(__attribute__((unused)) const tile *t) { \
        __asm__ volatile(                                                                   \
            "push {r4-r11, lr}\n"                                                           \
            "vpush {d8-d15}\n"                                                              \
            "sub sp, sp, #12\n"                                                             \
            "ldrd r1, r3, [r0]\n"                                                           \
            "ldrd r5, r11, [r0, #8]\n"                                                      \
            "ldrd r9, r7, [r0, #16]\n"                                                      \
            "ldr r2, [r0, #24]\n"                                                           \
            "strd r7, r2, [sp]\n"                                                           \
            "str r3, [sp, #8]\n"                                                            \
            "vldrw.32 q3, [r3]\n"                                                           \
            "vldrw.32 q4, [r3, #16]\n"                                                      \
            "vldrw.32 q5, [r3, #32]\n"                                                      \
            "vldrw.32 q6, [r3, #48]\n"                                                      \
            "vldrw.32 q7, [r3, #64]\n"                                                      \
            "tst r9, #1\n"                                                                  \
            "beq 1f\n"                                                                      \
            "add r9, #1\n"                                                                  \
            "b 4f\n"                                                                        \
            "1:\n" PAIR(rest("2"), step)                                                    \
            "4:\n" PAIR(rest("3"), step)                                                    \
            "subs r9, #2\n"                                                                 \
            "bne 1b\n"                                                                      \
            "add sp, sp, #12\n"                                                             \
            "vpop {d8-d15}\n"                                                               \
            "pop {r4-r11, pc}\n");                                                          \
    }

#define ONE_BLOCK(label) ""
#define TWO_BLOCKS(label) SECOND
#define FOUR_BLOCKS(label) SECOND FOURTH
#define FIVE_BLOCKS(label) SECOND FOURTH FIFTH
#define EIGHT_BLOCKS(label) SECOND FOURTH FIFTH EIGHTH
ADD_UP(add_up_1, ONE_BLOCK, STEP)
ADD_UP(add_up_2, TWO_BLOCKS, STEP)
ADD_UP(add_up_4, FOUR_BLOCKS, STEP)
ADD_UP(add_up_4_whole, FOUR_BLOCKS, "")
ADD_UP(add_up_5, FIVE_BLOCKS, STEP)
ADD_UP(add_up_8, EIGHT_BLOCKS, STEP)
ADD_UP(add_up_8_whole, EIGHT_BLOCKS, "")
ADD_UP(add_up_any, REST, STEP)

static void add_up(const tile *t) {
    switch (t->blocks + 2) {
    case 1:
        add_up_1(t);
        break;
    case 2:
        add_up_2(t);
        break;
    case 4:
        if (t->skip) {
            add_up_4(t);
        } else {
            add_up_4_whole(t);
        }
        break;
    case 5:
        add_up_5(t);
        break;
    case 8:
        if (t->skip) {
            add_up_8(t);
        } else {
            add_up_8_whole(t);
        }
        break;
    default:
        add_up_any(t);
    }
}

/* What finish needs, in the order of the registers that take it. */
typedef struct {
    const int32_t *sums, *multiplier;
    const int8_t *shift;
    int8_t *y[TILE];
    int32_t rows, zero_point, low, high;
} outputs;

/* Requantises a tile, four rows at a time; what belongs to rows is loaded once. A second multiplication does the shift,
 * by 2^shift + 2^(shift - 20): the second term carries ties away from zero, and nothing else over while results are below
 * 256. finish_and_add takes shifts from -11 to -1 and adds the zero point in the same instruction, finish_wider those
 * from -12 to -2. q7: where the sums of two pairs of rows lie.
 */
#define FINISH(step, y, shift)                  \
    "vldrd.u64 q5, [q7, #" step "]!\n"          \
    "vqrdmulh.s32 q5, q5, q3\n" shift           \
    "vmax.s32 q5, q5, q0\n"                     \
    "vmin.s32 q5, q5, q1\n"                     \
    "vstrb.32 q5, [" y "], #4\n"
#define FINISH_TILE(name, factor, shift)                                                         \
    __attribute__((naked, noinline)) static void name(__attribute__((unused)) const outputs *o) { \
        __asm__ volatile(                                                                        \
            "push {r4-r11, lr}\n"                                                                \
            "vpush {d8-d15}\n"                                                                   \
            "ldmia r0, {r0-r10}\n"                                                               \
            "movw r12, #0x0800\n"                                                                \
            "movt r12, #0x8000\n"                                                                \
            "vdup.32 q6, r12\n"                                                                  \
            "vdup.32 q0, r9\n"                                                                   \
            "vdup.32 q1, r10\n"                                                                  \
            "sub r0, #40\n"                                                                      \
            "add r12, r0, #32\n"                                                                 \
            "vmov q7[2], q7[0], r0, r12\n"                                                       \
            "mov r12, #1\n"                                                                      \
            "dlstp.32 lr, r7\n"                                                                  \
            "1:\n"                                                                               \
            "vldrw.32 q3, [r1], #16\n"                                                           \
            "vldrb.s32 q4, [r2], #4\n" factor                                                    \
            "vshl.u32 q4, q6, q4\n" FINISH("40", "r3", shift) FINISH("8", "r4", shift)           \
            FINISH("8", "r5", shift) FINISH("8", "r6", shift)                                    \
            "letp lr, 1b\n"                                                                      \
            "vpop {d8-d15}\n"                                                                    \
            "pop {r4-r11, pc}\n");                                                               \
    }

FINISH_TILE(finish_and_add, "", "vqrdmlash.s32 q5, q4, r8\n")
FINISH_TILE(finish_wider, "vadd.i32 q4, q4, r12\n", "vrmulh.s32 q5, q5, q4\nvadd.i32 q5, q5, r8\n")

/* Requantises one sample of a tile, any shifts. */
__attribute__((noinline)) static void finish_one(const nmbrl_dense_layer *l, const int32_t *sum, int8_t *y) {
    static const uint32_t places[4] = {0, 1, 2 * TILE, 2 * TILE + 1};
    const uint32x4_t place = vldrwq_u32(places);
    const int32x4_t low = vdupq_n_s32(l->low), high = vdupq_n_s32(l->high);
    for (int32_t row = 0; row < l->rows; row += 4, sum += 4 * TILE) {
        const mve_pred16_t inside = vctp32q((uint32_t)(l->rows - row));
        const int32x4_t total = vldrwq_gather_shifted_offset_s32(sum, place);
        const int32x4_t scaled = vqrdmulhq_s32(total, vldrwq_z_s32(l->multiplier + row, inside));
        const int32x4_t shifted = nmbrl_shift_lanes(scaled, vldrbq_z_s32(l->shift + row, inside));
        vstrbq_p_s32(y + row, nmbrl_limit(shifted, l->zero_point, low, high), inside);
    }
}

static void finish(const nmbrl_dense_layer *l, const outputs *o, size_t samples) {
    if (l->least_shift >= -11 && l->greatest_shift <= -1) {
        finish_and_add(o);
    } else if (l->least_shift >= -12 && l->greatest_shift <= -2) {
        finish_wider(o);
    } else {
        for (size_t s = 0; s < TILE && s < samples; ++s) finish_one(l, sums + 2 * s, o->y[s]);
    }
}

static void repeat_biases(const int32_t *bias, size_t pairs) {
    int32_t *to = biases;
    for (; pairs > 0; --pairs, bias += 2, to += 2 * TILE) {
        const int32_t first = bias[0], second = bias[1];
        to[0] = to[2] = to[4] = to[6] = first;
        to[1] = to[3] = to[5] = to[7] = second;
    }
}

/* Tiles of samples; the last sample fills up the last tile. */
void nmbrl_dense_rows(const nmbrl_dense_layer *layer, const int8_t *x, size_t x_stride, int8_t *y, size_t y_stride,
                      size_t n) {
    if (layer->columns > NMBRL_WIDEST || layer->rows > NMBRL_TALLEST || layer->greatest_shift > 0) {
        nmbrl_dense_portable(layer, x, x_stride, y, y_stride, n);
        return;
    }
    const uint32_t blocks = (uint32_t)(layer->columns + 15) / 16;
    const int32_t stride = (layer->columns + 3) / 4 * 8;
    const tile t = {layer->weights, inputs, sums, biases, (uint32_t)(layer->rows + 1) / 2,
                    stride - (int32_t)blocks * 32, blocks - 2};
    outputs o = {sums, layer->multiplier, layer->shift, {NULL, NULL, NULL, NULL},
                 layer->rows, layer->zero_point, layer->low, layer->high};
    repeat_biases(layer->bias, t.pairs);
    const int8_t *given = x, *from[TILE];
    int8_t *made = y;
    for (size_t left = n; left > 0; left -= left < TILE ? left : TILE) {
        for (size_t s = 0; s < TILE; ++s) {
            from[s] = given;
            o.y[s] = made;
            const int another = left > s + 1;
            given += another ? x_stride : 0;
            made += another ? y_stride : 0;
        }
        arrange_inputs(from, layer->columns);
        add_up(&t);
        finish(layer, &o, left);
    }
    if (layer->table) nmbrl_map(layer->table, layer->rows, y, y_stride, y, y_stride, n);
}
#endif
