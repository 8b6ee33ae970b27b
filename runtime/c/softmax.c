#include "nmbrl_fixed_point.h"
#include "nmbrl_kernels.h"

/* Bits of the sum of exponentials before the point (tflite-micro, kernels/internal/reference/softmax.h). */
#define SUM_BITS 12

/* a * b / 2^31 to nearest, ties upwards. */
static int32_t doubling_high(int32_t a, int32_t b) { return (int32_t)(((int64_t)a * b + (1 << 30)) >> 31); }

static int32_t saturating_left(int32_t x, int bits) {
    const int64_t wide = (int64_t)x * (1 << bits);
    return (int32_t)(wide > INT32_MAX ? INT32_MAX : wide < INT32_MIN ? INT32_MIN : wide);
}

/* 1 / (1 + a) for 0 <= a < 1, Q0.31, by three steps of Newton and Raphson from 48/17 - 32/17 d. */
static int32_t one_over_one_plus(int32_t a) {
    const int32_t half_denominator = (int32_t)(((int64_t)a + INT32_MAX + 1) / 2);
    int32_t x = 1515870810 + doubling_high(half_denominator, -1010580540);
    for (int i = 0; i < 3; ++i) {
        const int32_t error = (1 << 29) - doubling_high(half_denominator, x);
        x += saturating_left(doubling_high(x, error), 2);
    }
    return saturating_left(x, 1);
}

/* x / 2^bits to nearest, ties upwards, for x >= 0 and bits > 0. */
static int32_t shift_right(int32_t x, int bits) { return (int32_t)(((uint32_t)x + (1u << (bits - 1))) >> bits); }

static int leading_zeros(uint32_t x) {
    int count = 0;
    for (uint32_t bit = 1u << 31; bit && !(x & bit); bit >>= 1) ++count;
    return count;
}

void nmbrl_softmax(const int32_t *exponentials, size_t size, const int8_t *x, size_t x_stride, int8_t *y,
                   size_t y_stride, size_t n) {
    for (size_t row = 0; row < n; ++row, x += x_stride, y += y_stride) {
        int largest = -128;
        for (size_t i = 0; i < size; ++i) largest = x[i] > largest ? x[i] : largest;
        uint32_t sum = 0;
        for (size_t i = 0; i < size; ++i) sum += (uint32_t)shift_right(exponentials[largest - x[i]], SUM_BITS);
        const int headroom = leading_zeros(sum);
        const int32_t scale = one_over_one_plus((int32_t)((sum << headroom) - (1u << 31)));
        const int bits = SUM_BITS - headroom + 31 - 8;
        for (size_t i = 0; i < size; ++i) {
            const int32_t product = doubling_high(scale, exponentials[largest - x[i]]);
            y[i] = nmbrl_clamp(shift_right(product, bits) - 128, -128, 127);
        }
    }
}
