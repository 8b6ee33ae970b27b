/* A Loihi network as the simulator sees it; targets/loihi/compiled.py has the same structures. */
#ifndef NMBRL_LOIHI_H
#define NMBRL_LOIHI_H

#include <stdint.h>

/* Neurons of a population are stored in whole blocks of so many. */
#define BLOCK 16
/* Most lanes that go through a step together, so that weights are read from memory once for all of them. */
#define LANES 64

/* Lanes that share each weight in a register where most of their neurons send; divides LANES. */
#define GROUP 4

enum kind { INPUT, SIGMA_DELTA, TABLE, PRODUCT };

typedef struct {
    int32_t kind, size, ports;
    int32_t neuron;      /* first one, among all neurons of a lane; a multiple of BLOCK */
    int32_t accumulator; /* first one of port 0, likewise; port 1 follows */
    int32_t counter;     /* first one, among the neurons without gaps */
    int32_t threshold, message_bits, shift, relu, exponent, operand_shift[2], segments;
    int32_t first_wire, wires;
    const int32_t *bias[2], *values;
} population;

typedef struct {
    int32_t targets;     /* rounded up to blocks */
    int32_t accumulator; /* first one that it delivers to */
    int32_t target;      /* population */
    int32_t delay, right_shift;
    int32_t diagonal;    /* whether target i has the source i + offset and no other */
    int32_t offset;
    const int16_t *weights; /* (pairs of sources, targets, 2); of a diagonal (targets) */
} wire;

typedef struct {
    int32_t populations;
    int32_t neurons, accumulators; /* of a lane, in blocks */
    int32_t counters;              /* neurons without gaps */
    int32_t slots;                 /* steps that are under way at a time */
    int32_t period;                /* steps of a call */
    int32_t lanes;                 /* that go through a step together, at most LANES */
    int32_t widest;                /* most neurons of a population, in blocks, and a block more */
    const population *population;
    const wire *wire;
} network;

/* Numbers of a lane: accumulators; `sent` and the values of inputs (neurons each). */

/* Rows of `widest` numbers that each of `lanes` lanes needs as scratch memory, besides accumulators for each slot. */
#define SCRATCH 6

/* Numbers that are checked, in this order. */
enum variable {
    INPUT_0, ACCUMULATOR_0, INPUT_1, ACCUMULATOR_1, BIASED_0, BIASED_1, PRODUCT_OF_BOTH, ACTIVATION, MESSAGE
};

/* First number that is too wide, and by how much the farthest value of that number is; amount 0 where there is none. */
typedef struct {
    int64_t step, population, variable, amount;
} overflow;

/* Widths of the chip: synaptic input, state, product. */
typedef struct {
    int32_t synaptic, state, product;
} widths;

/* Compute the activation y (size) and the messages (size) of a population of a lane, which then counts them as sent. */
void update_population(const population *p, int32_t *lane, const network *net, int32_t *y, int32_t *messages);

/* sums[t] += the dot products of the `count` active pairs of sources, modulo 2^32. */
void accumulate(
    int32_t *sums, int32_t targets, const int16_t *weights, const int32_t *pairs, const int32_t *active, int32_t count);

/* The same in GROUP lanes with all `count` pairs, active or not. */
void accumulate_group(
    int32_t *const *sums, int32_t targets, const int16_t *weights, const int32_t *const *pairs, int32_t count);

/* Note what is too wide of a population that was updated; `arriving` is what its accumulators just took in. */
void check_population(
    const population *p, const int32_t *lane, const int32_t *arriving, const int32_t *y, const int32_t *messages,
    const widths *w, int64_t step, int64_t index, overflow *found);

/* Neurons of a population with those that fill its last block. */
static inline int32_t padded(int32_t size)
{
    return (size + BLOCK - 1) / BLOCK * BLOCK;
}

/* Run `steps` steps in `lanes` lanes.
   numbers: of all lanes; arrived: whether anything is under way (lanes, slots, populations); stored: what is (lanes,
   slots, accumulators), with anything in it elsewhere; scratch: zeros, see SCRATCH;
   given: whether each population, if an input, was given values; counts: messages (period, counters); record:
   all messages (steps, lanes, counters), zeros before, or null; found: null, or where overflows are noted. */
void nmbrl_loihi_run(
    const network *net, int32_t *numbers, int32_t *stored, uint8_t *arrived, int32_t *scratch, int64_t time,
    int64_t lanes, int64_t steps, const uint8_t *given, int64_t *counts, int32_t *record, const widths *w, overflow *found);

#endif
