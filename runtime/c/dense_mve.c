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
/* For each four rows, each sample: their sums. */
static int32_t sums[(NMBRL_TALLEST + 3) / 4 * 4 * TILE] NMBRL_ALIGNED;

static void arrange_inputs(const int8_t *x, size_t x_stride, size_t columns, size_t samples) {
    for (size_t column = 0; column < columns; column += 16) {
        const mve_pred16_t inside = vctp8q((uint32_t)(columns - column));
        for (size_t s = 0; s < TILE; ++s) {
            const int8_t *const from = x + (s < samples ? s : 0) * x_stride + column;
            vst1q_s8(inputs + column * TILE + s * 16, vldrbq_z_s8(from, inside));
        }
    }
}

/* Adds up all pairs of rows for a tile. In C:
 *   for each pair p: for each block b, sample s, row r of the pair:
 *     sums[p / 2][s][p % 2 * 2 + r] += weights[p][b][r] . inputs[b][s]
 * r1: weights, r3: inputs, r5: sums, r7: skip or blocks left, r9: pairs left; a block is 16 columns. The first five of the
 * inputs stay in q3 .. q7.
 */
typedef struct {
    const int8_t *weights;
    const int8_t *inputs;
    int32_t *sums;
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
    WEIGHTS KEPT("vmlav.s8", "r0", "r2", "q3") \
    KEPT("vmlav.s8", "r4", "r6", "q4")         \
    KEPT("vmlav.s8", "r8", "r10", "q5")        \
    KEPT("vmlav.s8", "r12", "lr", "q6")
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
#define REST                                   \
    "ldr r7, [sp, #4]\n"                       \
    "add r3, #128\n"                           \
    "2:\n" WEIGHTS                             \
    LOADED("r0", "r2", "[r3], #16")            \
    LOADED("r4", "r6", "[r3], #16")            \
    LOADED("r8", "r10", "[r3], #16")           \
    LOADED("r12", "lr", "[r3], #16")           \
    "subs r7, #1\n"                            \
    "bne 2b\n"                                 \
    "ldr r3, [sp, #8]\n"                       \
    "ldr r7, [sp]\n"

#define ADD_UP(name, rest)                                                                  \
    __attribute__((naked, noinline)) static void name(__attribute__((unused)) const tile *t) { \
        __asm__ volatile(                                                                   \
            "push {r4-r11, lr}\n"                                                           \
            "vpush {d8-d15}\n"                                                              \
            "sub sp, sp, #12\n"                                                             \
            "ldrd r1, r3, [r0]\n"                                                           \
            "ldrd r5, r9, [r0, #8]\n"                                                       \
            "ldrd r7, r2, [r0, #16]\n"                                                      \
            "strd r7, r2, [sp]\n"                                                           \
            "str r3, [sp, #8]\n"                                                            \
            "add r5, #8\n"                                                                  \
            "vldrw.32 q3, [r3]\n"                                                           \
            "vldrw.32 q4, [r3, #16]\n"                                                      \
            "vldrw.32 q5, [r3, #32]\n"                                                      \
            "vldrw.32 q6, [r3, #48]\n"                                                      \
            "vldrw.32 q7, [r3, #64]\n"                                                      \
            "1:\n" FIRST rest                                                               \
            "strd r0, r2, [r5, #-8]\n"                                                      \
            "strd r4, r6, [r5, #8]\n"                                                       \
            "strd r8, r10, [r5, #24]\n"                                                     \
            "strd r12, lr, [r5, #40]\n"                                                     \
            "subs r9, #1\n"                                                                 \
            "beq 3f\n"                                                                      \
            "add r1, r7\n" FIRST rest                                                       \
            "strd r4, r6, [r5, #16]\n"                                                      \
            "strd r8, r10, [r5, #32]\n"                                                     \
            "strd r12, lr, [r5, #48]\n"                                                     \
            "strd r0, r2, [r5], #64\n"                                                      \
            "add r1, r7\n"                                                                  \
            "subs r9, #1\n"                                                                 \
            "bne 1b\n"                                                                      \
            "3:\n"                                                                          \
            "add sp, sp, #12\n"                                                             \
            "vpop {d8-d15}\n"                                                               \
            "pop {r4-r11, pc}\n");                                                          \
    }

ADD_UP(add_up_1, "")
ADD_UP(add_up_2, SECOND)
ADD_UP(add_up_4, SECOND FOURTH)
ADD_UP(add_up_5, SECOND FOURTH FIFTH)
ADD_UP(add_up_8, SECOND FOURTH FIFTH EIGHTH)
ADD_UP(add_up_any, SECOND REST)

static void add_up(const nmbrl_dense_layer *l) {
    const uint32_t blocks = (uint32_t)(l->columns + 15) / 16;
    const int32_t stride = (l->columns + 3) / 4 * 8;
    const tile t = {l->weights, inputs, sums, (uint32_t)(l->rows + 1) / 2, stride - (int32_t)blocks * 32, blocks - 2};
    switch (blocks) {
    case 1:
        add_up_1(&t);
        break;
    case 2:
        add_up_2(&t);
        break;
    case 4:
        add_up_4(&t);
        break;
    case 5:
        add_up_5(&t);
        break;
    case 8:
        add_up_8(&t);
        break;
    default:
        add_up_any(&t);
    }
}

/* What finish_quickly needs, in the order of the registers that take it. */
typedef struct {
    const int32_t *sums, *bias, *multiplier;
    const int8_t *shift;
    int8_t *y[TILE];
    int32_t zero_point, rows, low, high;
} outputs;

/* Requantises a full tile, shifts from -1 to -11 and zero point in one multiplication: by 2^shift + 2^(shift - 20), which
 * carries ties away from zero, and nothing else over while results are below 512. What belongs to rows is loaded once.
 */
#define FINISH(y)                  \
    "vldrw.32 q5, [r0], #16\n"     \
    "vadd.i32 q5, q5, q2\n"        \
    "vqrdmulh.s32 q5, q5, q3\n"    \
    "vqrdmlash.s32 q5, q4, r8\n"   \
    "vmax.s32 q5, q5, q0\n"        \
    "vmin.s32 q5, q5, q1\n"        \
    "vstrb.32 q5, [" y "], #4\n"
__attribute__((naked, noinline)) static void finish_quickly(__attribute__((unused)) const outputs *o) {
    __asm__ volatile(
        "push {r4-r11, lr}\n"
        "vpush {d8-d13}\n"
        "ldmia r0, {r0-r11}\n"
        "movw r12, #0x0800\n"
        "movt r12, #0x8000\n"
        "vdup.32 q6, r12\n"
        "vdup.32 q0, r10\n"
        "vdup.32 q1, r11\n"
        "dlstp.32 lr, r9\n"
        "1:\n"
        "vldrw.32 q2, [r1], #16\n"
        "vldrw.32 q3, [r2], #16\n"
        "vldrb.s32 q4, [r3], #4\n"
        "vshl.u32 q4, q6, q4\n" FINISH("r4") FINISH("r5") FINISH("r6") FINISH("r7")
        "letp lr, 1b\n"
        "vpop {d8-d13}\n"
        "pop {r4-r11, pc}\n");
}

/* Requantises one sample of a tile, any shifts. */
__attribute__((noinline)) static void finish_one(const nmbrl_dense_layer *l, const int32_t *sum, int8_t *y) {
    const int32x4_t low = vdupq_n_s32(l->low), high = vdupq_n_s32(l->high);
    for (int32_t row = 0; row < l->rows; row += 4, sum += 4 * TILE) {
        const mve_pred16_t inside = vctp32q((uint32_t)(l->rows - row));
        const int32x4_t total = vaddq_s32(vldrwq_s32(sum), vldrwq_z_s32(l->bias + row, inside));
        const int32x4_t scaled = vqrdmulhq_s32(total, vldrwq_z_s32(l->multiplier + row, inside));
        const int32x4_t shifted = nmbrl_shift_lanes(scaled, vldrbq_z_s32(l->shift + row, inside));
        vstrbq_p_s32(y + row, nmbrl_limit(shifted, l->zero_point, low, high), inside);
    }
}

static void finish(const nmbrl_dense_layer *l, int8_t *y, size_t y_stride, size_t samples) {
    if (samples == TILE && l->shifts_short) {
        const outputs o = {sums, l->bias, l->multiplier, l->shift, {y, y + y_stride, y + 2 * y_stride, y + 3 * y_stride},
                           l->zero_point, l->rows, l->low, l->high};
        finish_quickly(&o);
    } else {
        for (size_t s = 0; s < samples; ++s) finish_one(l, sums + 4 * s, y + s * y_stride);
    }
}

void nmbrl_dense(const nmbrl_dense_layer *layer, const int8_t *x, size_t x_stride, int8_t *y, size_t y_stride,
                 size_t n) {
    if (layer->columns > NMBRL_WIDEST || layer->rows > NMBRL_TALLEST || layer->shifts_left) {
        nmbrl_dense_portable(layer, x, x_stride, y, y_stride, n);
        return;
    }
    for (size_t done = 0; done < n; done += TILE) {
        const size_t samples = n - done < TILE ? n - done : TILE;
        arrange_inputs(x + done * x_stride, x_stride, layer->columns, samples);
        add_up(layer);
        finish(layer, y + done * y_stride, y_stride, samples);
    }
    if (layer->table) nmbrl_map(layer->table, layer->rows, y, y_stride, y, y_stride, n);
}
#endif
