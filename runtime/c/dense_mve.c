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
/* For each pair of rows, each sample: the sums of both. */
static int32_t sums[NMBRL_TALLEST * TILE] NMBRL_ALIGNED;

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
 *   for each pair p: for each block b, sample s, row r of the pair: sums[p][s][r] += weights[p][b][r] . inputs[b][s]
 * r1: weights, r3 and r11: inputs, r5: sums, r7: blocks left, r9: pairs left; a block is 16 columns.
 */
typedef struct {
    const int8_t *weights;
    const int8_t *inputs;
    int32_t *sums;
    uint32_t pairs;
    int32_t skip;    /* from the end of a pair's last block to the next pair's weights */
    uint32_t blocks; /* beyond the first */
} tile;

#define SAMPLE(multiply, a, b)     \
    "vldrw.32 q2, [r3], #16\n"     \
    multiply " " a ", q0, q2\n"    \
    multiply " " b ", q1, q2\n"
#define BLOCK(multiply)                \
    "vld20.32 {q0, q1}, [r1]\n"        \
    "vld21.32 {q0, q1}, [r1]!\n"       \
    SAMPLE(multiply, "r0", "r2")       \
    SAMPLE(multiply, "r4", "r6")       \
    SAMPLE(multiply, "r8", "r10")      \
    SAMPLE(multiply, "r12", "lr")
#define FIRST BLOCK("vmlav.s8")
#define NEXT BLOCK("vmlava.s8")
#define LOOP         \
    "ldr r7, [sp, #4]\n" \
    "2:\n" NEXT      \
    "subs r7, #1\n"  \
    "bne 2b\n"

#define ADD_UP(name, rest)                                                                  \
    __attribute__((naked, noinline)) static void name(__attribute__((unused)) const tile *t) { \
        __asm__ volatile(                                                                   \
            "push {r4-r11, lr}\n"                                                           \
            "sub sp, sp, #12\n"                                                             \
            "ldr r1, [r0]\n"                                                                \
            "ldr r11, [r0, #4]\n"                                                           \
            "ldr r5, [r0, #8]\n"                                                            \
            "ldr r9, [r0, #12]\n"                                                           \
            "ldrd r2, r3, [r0, #16]\n"                                                      \
            "strd r2, r3, [sp]\n"                                                           \
            "1:\n"                                                                          \
            "mov r3, r11\n" FIRST rest                                                      \
            "strd r0, r2, [r5], #8\n"                                                       \
            "strd r4, r6, [r5], #8\n"                                                       \
            "strd r8, r10, [r5], #8\n"                                                      \
            "strd r12, lr, [r5], #8\n"                                                      \
            "ldr r7, [sp]\n"                                                                \
            "add r1, r7\n"                                                                  \
            "subs r9, #1\n"                                                                 \
            "bne 1b\n"                                                                      \
            "add sp, sp, #12\n"                                                             \
            "pop {r4-r11, pc}\n");                                                          \
    }

ADD_UP(add_up_1, "")
ADD_UP(add_up_4, NEXT NEXT NEXT)
ADD_UP(add_up_5, NEXT NEXT NEXT NEXT)
ADD_UP(add_up_8, NEXT NEXT NEXT NEXT NEXT NEXT NEXT)
ADD_UP(add_up_any, LOOP)

static void add_up(const nmbrl_dense_layer *l) {
    const uint32_t blocks = (uint32_t)(l->columns + 15) / 16;
    const int32_t stride = (l->columns + 3) / 4 * 8;
    const tile t = {l->weights, inputs, sums, (uint32_t)(l->rows + 1) / 2, stride - (int32_t)blocks * 32, blocks - 1};
    switch (blocks) {
    case 1:
        add_up_1(&t);
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

/* Requantises four rows of one sample; `pairs`: offsets of the two pairs of sums. */
static inline __attribute__((always_inline)) void finish_four(const int32_t *sum, uint64x2_t pairs, int32x4_t bias,
                                                              int32x4_t multiplier, int32x4_t shift, int32_t zero_point,
                                                              int32x4_t low, int32x4_t high, mve_pred16_t inside,
                                                              int8_t *y) {
    const int32x4_t both = vreinterpretq_s32_s64(vldrdq_gather_offset_s64((const int64_t *)(const void *)sum, pairs));
    const int32x4_t scaled = vqrdmulhq_s32(vaddq_s32(both, bias), multiplier);
    vstrbq_p_s32(y, nmbrl_limit(nmbrl_shift_lanes(scaled, shift), zero_point, low, high), inside);
}

/* Requantises a tile: what belongs to rows is loaded once for all its samples. */
__attribute__((noinline)) static void finish(const nmbrl_dense_layer *l, int8_t *y, size_t y_stride) {
    const int32x4_t low = vdupq_n_s32(l->low), high = vdupq_n_s32(l->high);
    const uint64x2_t pairs = vreinterpretq_u64_u32(vsetq_lane_u32(8 * TILE, vdupq_n_u32(0), 2));
    const int32_t *sum = sums, *bias = l->bias, *multiplier = l->multiplier;
    const int8_t *shift = l->shift;
    const int32_t zero_point = l->zero_point;
    int8_t *const second = y + y_stride, *const third = second + y_stride, *const fourth = third + y_stride;
    const int32_t rows = l->rows;
    for (int32_t row = 0; row < rows; row += 4, sum += 4 * TILE) {
        const mve_pred16_t inside = vctp32q((uint32_t)(rows - row));
        const int32x4_t b = vldrwq_z_s32(bias + row, inside), m = vldrwq_z_s32(multiplier + row, inside);
        const int32x4_t s = vldrbq_z_s32(shift + row, inside);
        finish_four(sum, pairs, b, m, s, zero_point, low, high, inside, y + row);
        finish_four(sum + 2, pairs, b, m, s, zero_point, low, high, inside, second + row);
        finish_four(sum + 4, pairs, b, m, s, zero_point, low, high, inside, third + row);
        finish_four(sum + 6, pairs, b, m, s, zero_point, low, high, inside, fourth + row);
    }
}

/* The same of one sample of a tile that is not full. */
__attribute__((noinline)) static void finish_one(const nmbrl_dense_layer *l, const int32_t *sum, int8_t *y) {
    const int32x4_t low = vdupq_n_s32(l->low), high = vdupq_n_s32(l->high);
    const uint64x2_t pairs = vreinterpretq_u64_u32(vsetq_lane_u32(8 * TILE, vdupq_n_u32(0), 2));
    for (int32_t row = 0; row < l->rows; row += 4, sum += 4 * TILE) {
        const mve_pred16_t inside = vctp32q((uint32_t)(l->rows - row));
        finish_four(sum, pairs, vldrwq_z_s32(l->bias + row, inside), vldrwq_z_s32(l->multiplier + row, inside),
                    vldrbq_z_s32(l->shift + row, inside), l->zero_point, low, high, inside, y + row);
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
        if (samples == TILE) {
            finish(layer, y + done * y_stride, y_stride);
        } else {
            for (size_t s = 0; s < samples; ++s) finish_one(layer, sums + 2 * s, y + (done + s) * y_stride);
        }
    }
    if (layer->table) nmbrl_map(layer->table, layer->rows, y, y_stride, y, y_stride, n);
}
#endif
