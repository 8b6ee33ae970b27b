/* The kernels that a generated model calls: n rows at a time, each with the distance between its rows (stride).
 *
 * Integers are those of TensorFlow Lite Micro. A factor is multiplier * 2^(shift - 31), applied with two roundings
 * (nmbrl_fixed_point.h). Tables are indexed by the bit pattern of an int8, 0 .. 127, then -128 .. -1; those of int8 by its
 * value too: 128 elements lie before the first.
 * Outputs must not overlap inputs, except that nmbrl_map may work in place. A stride of 0 makes all rows of an operand
 * the same.
 */
#ifndef NMBRL_KERNELS_H
#define NMBRL_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Rows that lie one after another without gaps are one row. */
static inline void nmbrl_join_rows(int without_gaps, size_t *size, size_t *n) {
    *size = without_gaps ? *size * *n : *size;
    *n = without_gaps ? 1 : *n;
}

/* y = table[clamp(zero_point + (W x + bias) * factor)]; a zero point of x is part of the bias.
 *
 * Weights lie in the order of use: for each pair of rows, for each 4 columns, 4 of the first row and 4 of the second;
 * missing rows and columns are zeros, and NMBRL_WEIGHT_MARGIN bytes follow that may be read.
 */
#define NMBRL_WEIGHT_MARGIN 32
#if defined(__GNUC__)
#define NMBRL_ALIGNED __attribute__((aligned(16)))
#else
#define NMBRL_ALIGNED
#endif
typedef struct {
    const int8_t *weights;
    const int32_t *bias;       /* rows, padded to even */
    const int32_t *multiplier; /* rows, padded to even */
    const int8_t *shift;       /* rows, padded to even */
    const int8_t *table;       /* 256, or NULL */
    uint16_t rows;
    uint16_t columns;
    int8_t zero_point, low, high;
    int8_t least_shift, greatest_shift;
} nmbrl_dense_layer;

void nmbrl_dense(const nmbrl_dense_layer *layer, const int8_t *x, size_t x_stride, int8_t *y, size_t y_stride, size_t n);

/* What it calls for rows that differ: one version for each instruction set. */
void nmbrl_dense_rows(const nmbrl_dense_layer *layer, const int8_t *x, size_t x_stride, int8_t *y, size_t y_stride,
                      size_t n);

/* The same, in plain C: the definition of every other version. */
void nmbrl_dense_portable(const nmbrl_dense_layer *layer, const int8_t *x, size_t x_stride, int8_t *y, size_t y_stride,
                          size_t n);

/* y = table[clamp(zero_point + (A[a] + B[b]) / 2 * factor)] with tables of twice the rescaled addends; shift is at most 0. */
typedef struct {
    const int32_t *a, *b;
    const int8_t *table; /* 256, or NULL */
    int32_t multiplier;
    uint16_t size;
    int8_t shift, zero_point, low, high;
} nmbrl_add_layer;

void nmbrl_add(const nmbrl_add_layer *layer, const int8_t *a, size_t a_stride, const int8_t *b, size_t b_stride,
               int8_t *y, size_t y_stride, size_t n);

/* y = table[clamp(zero_point + (a - a_zero) (b - b_zero) * factor)] */
typedef struct {
    const int8_t *table; /* 256, or NULL */
    int32_t multiplier;
    uint16_t size;
    int8_t shift, a_zero, b_zero, zero_point, low, high;
} nmbrl_multiply_layer;

void nmbrl_multiply(const nmbrl_multiply_layer *layer, const int8_t *a, size_t a_stride, const int8_t *b,
                    size_t b_stride, int8_t *y, size_t y_stride, size_t n);

/* y = table[x] */
void nmbrl_map(const int8_t *table, size_t size, const int8_t *x, size_t x_stride, int8_t *y, size_t y_stride, size_t n);

/* y = x */
void nmbrl_copy(size_t size, const int8_t *x, size_t x_stride, int8_t *y, size_t y_stride, size_t n);

/* Softmax of each row; exponentials (256): of the distance to the largest element, Q0.31. */
void nmbrl_softmax(const int32_t *exponentials, size_t size, const int8_t *x, size_t x_stride, int8_t *y,
                   size_t y_stride, size_t n);

#endif
