/* The kernels of this core against their definitions in plain C, on random layers, shapes and strides: says by the serial
 * port how many elements were compared and how many differ. Built with a board's start-up and port, without a model. */
#include <string.h>

#include "hal.h"
#include "nmbrl_fixed_point.h"
#include "nmbrl_kernels.h"
#include "nmbrl_random.h"

#define ROWS 140
#define COLUMNS 160
#define SAMPLES 38
#define GAP 5
#define LAYERS 90

static int8_t weights[(ROWS + 1) * COLUMNS + NMBRL_WEIGHT_MARGIN] NMBRL_ALIGNED;
static int32_t bias[ROWS + 1], multiplier[ROWS + 1], addends[2][256];
static int8_t shift[ROWS + 1], table[384], x[SAMPLES * (COLUMNS + GAP)], other[SAMPLES * (COLUMNS + GAP)];
static int8_t made[SAMPLES * (COLUMNS + GAP)], expected[SAMPLES * (COLUMNS + GAP)];
static uint32_t compared, differing, drawn;

static uint32_t draw(uint32_t bound) {
    const uint32_t counter[4] = {drawn++, 0, 0, 0};
    uint32_t words[4];
    nmbrl_philox(7, counter, words);
    return (uint32_t)(((uint64_t)words[0] * bound) >> 32);
}

static int draw_between(int least, int most) { return least + (int)draw((uint32_t)(most - least + 1)); }

static void fill(int8_t *to, size_t size) {
    for (size_t i = 0; i < size; ++i) to[i] = (int8_t)draw(256);
}

static const int8_t *draw_table(void) {
    if (draw(2)) return NULL;
    fill(table + 128, 256);
    memcpy(table, table + 256, 128);
    return table + 128;
}

/* Kinds of factor: those of most layers, the longest that share a fast way, and any. */
static int draw_shift(int kind) {
    return kind == 0 ? draw_between(-9, -7) : kind == 1 ? draw_between(-12, -2) : draw_between(-20, 0);
}

static int32_t draw_multiplier(void) { return (int32_t)(0x40000000u + draw(0x40000000u)); }

/* Also what lies between and beyond the rows must be as it was. */
static void compare(void) {
    for (size_t i = 0; i < sizeof made; ++i) differing += made[i] != expected[i];
    compared += sizeof made;
}

static void prepare(void) {
    fill(made, sizeof made);
    memcpy(expected, made, sizeof made);
}

static void check_dense(uint32_t number) {
    static const uint16_t widths[] = {6, 16, 32, 64, 69, 80, 96, 128};
    const uint16_t rows = (uint16_t)draw_between(1, ROWS);
    const uint16_t columns = draw(2) ? widths[draw(8)] : (uint16_t)draw_between(1, COLUMNS);
    const size_t padded = (columns + 3u) / 4 * 4, n = (size_t)draw_between(1, SAMPLES);
    const size_t x_stride = draw(8) ? columns + draw(GAP) : 0, y_stride = rows + draw(GAP);
    const int kind = (int)(number % 3);
    fill(weights, sizeof weights);
    for (size_t pair = 0; pair < (rows + 1u) / 2; ++pair) {
        for (size_t i = 0; i < 2 * padded; ++i) {
            const size_t row = 2 * pair + i / 4 % 2, column = i / 8 * 4 + i % 4;
            if (row >= rows || column >= columns) weights[pair * 2 * padded + i] = 0;
        }
    }
    int least = 0, greatest = -31;
    for (size_t row = 0; row < rows + 1u; ++row) {
        bias[row] = draw_between(-60000, 60000);
        multiplier[row] = draw_multiplier();
        shift[row] = (int8_t)draw_shift(kind);
        least = row < rows && shift[row] < least ? shift[row] : least;
        greatest = row < rows && shift[row] > greatest ? shift[row] : greatest;
    }
    const int clamped = draw(4) == 0;
    const nmbrl_dense_layer layer = {weights, bias, multiplier, shift, draw_table(), rows, columns,
                                     (int8_t)draw_between(-128, 127), (int8_t)(clamped ? -20 : -128),
                                     (int8_t)(clamped ? 90 : 127), (int8_t)least, (int8_t)greatest};
    fill(x, sizeof x);
    prepare();
    nmbrl_dense(&layer, x, x_stride, made, y_stride, n);
    nmbrl_dense_portable(&layer, x, x_stride, expected, y_stride, n);
    compare();
}

static int8_t finish(int32_t doubled, int32_t factor, int by, int zero_point, const int8_t *look_up) {
    const int8_t q = nmbrl_clamp(nmbrl_rescale(doubled, factor, by) + zero_point, -128, 127);
    return look_up ? look_up[q] : q;
}

static void check_elementwise(void) {
    const uint16_t size = (uint16_t)draw_between(1, COLUMNS);
    const size_t n = (size_t)draw_between(1, SAMPLES), gap = draw(2) * GAP, stride = size + gap, b_stride = size + draw(GAP);
    fill(x, sizeof x);
    fill(other, sizeof other);
    for (size_t i = 0; i < 512; ++i) addends[i / 256][i % 256] = draw_between(-500000000, 500000000);
    const int8_t *const look_up = draw_table();
    const int zero_point = draw_between(-128, 127);
    const nmbrl_add_layer add = {addends[0], addends[1], look_up, draw_multiplier(), size,
                                 (int8_t)draw_between(-22, draw(4) ? -17 : 0), (int8_t)zero_point, -128, 127};
    prepare();
    nmbrl_add(&add, x, stride, other, b_stride, made, stride, n);
    for (size_t i = 0; i < n * size; ++i) {
        const size_t row = i / size, at = i % size;
        const int32_t sum = add.a[(uint8_t)x[row * stride + at]] + add.b[(uint8_t)other[row * b_stride + at]];
        expected[row * stride + at] = finish(sum, add.multiplier, add.shift, zero_point, look_up);
    }
    compare();
    const nmbrl_multiply_layer multiply = {look_up, draw_multiplier(), size, (int8_t)draw_shift(draw_between(0, 2)),
                                           (int8_t)draw_between(-128, 127), (int8_t)draw_between(-128, 127),
                                           (int8_t)zero_point, -128, 127};
    prepare();
    nmbrl_multiply(&multiply, x, stride, other, b_stride, made, stride, n);
    for (size_t i = 0; i < n * size; ++i) {
        const size_t row = i / size, at = i % size;
        const int32_t product = (x[row * stride + at] - multiply.a_zero) * (other[row * b_stride + at] - multiply.b_zero);
        expected[row * stride + at] = finish(2 * product, multiply.multiplier, multiply.shift, zero_point, look_up);
    }
    compare();
    fill(table + 128, 256);
    memcpy(table, table + 256, 128);
    prepare();
    nmbrl_map(table + 128, size, x, stride, made, b_stride, n);
    for (size_t i = 0; i < n * size; ++i) expected[i / size * b_stride + i % size] = table[128 + x[i / size * stride + i % size]];
    compare();
}

static void say(uint32_t number, char last) {
    char text[12];
    size_t at = sizeof text;
    text[--at] = last;
    do text[--at] = (char)('0' + number % 10);
    while (number /= 10);
    nmbrl_hal_write((const uint8_t *)text + at, sizeof text - at);
}

int main(void) {
    nmbrl_hal_init();
    for (uint32_t layer = 0; layer < LAYERS; ++layer) check_dense(layer);
    for (uint32_t layer = 0; layer < LAYERS; ++layer) check_elementwise();
    say(compared, ' ');
    say(differing, '\n');
    for (;;) nmbrl_hal_read((uint8_t *)table, sizeof table);
}
