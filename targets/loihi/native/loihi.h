/* A Loihi network as the simulator sees it; targets/loihi/layout.py has the same structures. */
#ifndef NMBRL_LOIHI_H
#define NMBRL_LOIHI_H

#include <stdint.h>

/* Neurons of a population are stored in whole blocks of so many. */
#define BLOCK 16
/* Most lanes that go through a step together, so that weights are read from memory once for all of them. */
#define LANES 64
/* Lanes of a product of matrices; divides LANES. */
#define LANES_AT_ONCE 32

/* Lanes that share each weight in a register where most of their neurons send; divides LANES. */
#define GROUP 4

/* Of spiking networks in many lanes: lanes that share an instruction, such vectors that share each look-up, and the most
   lanes and steps that are gone through before what they have sent makes room for others. */
#define VECTOR 16
#define VECTORS 4
#define SPIKING_LANES 256
#define SPIKING_STEPS 32
/* Fewer lanes than these go one by one. */
#define FEW_SPIKING_LANES 6
/* The same of networks that events.c knows. */
#define EVENT_LANES 32
#define EVENT_STEPS 20

/* LIF: with and without reset, of two or three values. */
enum kind { INPUT, SIGMA_DELTA, TABLE, PRODUCT, LIF, DELTA, SIGMA, LAVA_SIGMA_DELTA, PROD_NEURON };

/* State variables are stored one after the other, each in blocks, in the order of targets/loihi. */
typedef struct {
    int32_t kind, size, ports;
    int32_t state;   /* first state variable, among all numbers of a lane; a multiple of BLOCK */
    int32_t port;    /* first number of port 0, among all that arrives; likewise, port 1 follows */
    int32_t counter; /* first neuron, among the neurons without gaps */
    int32_t word;    /* first of words of 64 neurons */
    int32_t shift, relu, exponent, operand_shift[2], segments;
    int32_t reset_interval, reset_offset; /* interval 0: none */
    int32_t cum_error;
    int32_t diagonals; /* whether any wire into it or from it is diagonal */
    int32_t takes;   /* whether a leaky neuron has ever been given anything */
    int32_t ternary; /* whether a leaky neuron may send -1 */
    int32_t first_wire, wires;
    int32_t index, input; /* where spikes.c keeps what it sends: first byte of its index, first neuron of an input */
    int32_t place;        /* and its variables, three at most: first number among those of its group */
    int32_t most_arriving, most_given; /* as long as no more arrives and is given, u does not wrap and v is exact; or -1 */
    const int32_t *parameter[9]; /* vectors in blocks, see population.c */
    const int32_t *values;       /* of a table */
    const int32_t *widths;       /* bits of what is checked, see strict.c */
} population;

/* Weights of 16 bits, or of 8 with a sign or without. */
enum form { WORDS, SIGNED_BYTES, BYTES };

/* What arrives is (weights * messages * factor) >> right_shift. */
typedef struct {
    int32_t targets;     /* rounded up to blocks */
    int32_t sources;
    int32_t port;        /* first number of all that arrives that it delivers to */
    int32_t source, target; /* populations */
    int32_t delay, factor, right_shift;
    int32_t diagonal;    /* whether target i has the source i + offset and no other */
    int32_t offset;
    int32_t binary;      /* whether all messages but 0 count as 1; such wires are a population's last */
    int32_t form;
    const void *weights;  /* (pairs of sources, targets, 2), or null; of a diagonal (targets) words */
    const uint8_t *rows;  /* or (columns of targets, sources, targets), `excess` more each, see fours.h */
    const uint8_t *tiles; /* the same as tiles, see matrix.c; or null */
    const uint8_t *tables; /* the same as sums of every four, see spikes.c; or null */
    int32_t excess;
    int32_t planes;        /* of tables: two where the sums of weights would not fit bytes, the high one first */
} wire;

typedef struct {
    int32_t populations;
    int32_t numbers;  /* state variables of a lane, in blocks */
    int32_t ports;    /* numbers that arrive in a step, in blocks */
    int32_t counters; /* neurons without gaps */
    int32_t rests;    /* whether a population that nothing arrives at can be left alone */
    int32_t slots;    /* steps that are under way at a time: `chunk` and those of `stored` */
    int32_t stored;   /* steps that are still under way when a call ends */
    int32_t chunk;    /* steps that a group of populations goes through before the next group does */
    int32_t groups;   /* of populations; what a group sends goes to itself and to later ones */
    int32_t period;   /* steps of a call */
    int32_t matrices; /* whether wires have tiles */
    int32_t lanes;    /* that go through a step together, at most LANES */
    int32_t scratch;  /* numbers of scratch memory that a lane needs: what is under way, SCRATCH rows, what has arrived */
    int32_t widest;   /* most neurons of a population, in blocks, and a block more */
    int32_t wires;    /* of all populations */
    int32_t spikes;   /* numbers that spikes.c needs for what VECTOR lanes send; 0 where it does not know a kind */
    int32_t held;     /* and most variables of a group */
    int32_t indices;  /* bytes of the indices of all populations */
    int32_t inputs;   /* neurons of inputs, in blocks */
    int32_t events;   /* messages of all populations in a step, with room; 0 where events.c does not know a wire */
    int32_t event_scratch; /* first number of scratch memory that is its own */
    int32_t words;    /* of 64 neurons, for a bit of each */
    const population *population;
    const wire *wire;
    const int32_t *order; /* populations, group by group */
    const int32_t *ends;  /* of each group, in that order */
} network;

/* Rows of `widest` numbers of a lane's scratch memory. */
#define SCRATCH 8

/* What the host gives a variable in every step: `first` of a lane's numbers and on; values (steps, lanes, size). */
typedef struct {
    int64_t population, first, size;
    const int32_t *values;
} given;

/* What the host gives: `steps` rows of values for `all_lanes`, of which those from `lane` on are of interest. */
typedef struct {
    const given *first;
    int64_t count, steps, all_lanes, lane;
} hosts;

/* First number that is too wide, and by how much the farthest value of that number is; amount 0 where there is none. */
typedef struct {
    int64_t step, population, variable, amount;
} overflow;

/* A population in a step, where overflows are noted; `found` null where they are not. */
typedef struct {
    int64_t step, index;
    overflow *found;
} place;

/* Go through a step: change a population's state in a lane by what arrives, and give its messages and, where it has one,
   its activation y; a sigma-delta neuron's only where that is `checked`. */
void update_population(
    const population *p, int32_t *state, const int32_t *arriving, int64_t time, int checked, int32_t *y, int32_t *messages);

/* The `count` messages of a lane that are not 0, and then zeros; as many digits each, of -128 to 127 times powers of 256. */
typedef struct {
    uint16_t *sources;
    int32_t *values;
    int8_t *digits; /* (planes, stride) */
    int32_t stride, planes, count;
    int32_t bits;   /* all bits that differ from the sign in any message */
    int32_t signs;  /* negative where any message is */
    int32_t total;
} events;

/* A digit of a message: half of one more where the digits below round up. */
static inline int8_t digit_of(int32_t message, int plane)
{
    return (int8_t)((message + (0x808080 & ((1 << 8 * plane) - 1))) >> 8 * plane);
}

/* List messages, and count them by neuron unless `counts` is null; there is room for a block more. Digits are made where
   they are wanted: planes is 0 until then. */
void list_messages(const int32_t *messages, int32_t size, int32_t *counts, events *to);
void split_messages(events *e);

/* Deliver messages along a diagonal to `to` (targets). */
void deliver_diagonal(const wire *w, const int32_t *messages, int32_t size, int32_t *to);

/* Pair messages up, shifted and masked, and list the pairs that are not 0; return how many there are. */
int32_t pair_up(
    const int32_t *messages, int32_t size, int32_t shift, int32_t mask, int32_t *pairs, int32_t *active);

/* Deliver the `count` active pairs of messages to `to` (targets). */
void accumulate(const wire *w, const int32_t *pairs, const int32_t *active, int32_t count, int32_t *to);

/* The same in GROUP lanes with all `count` pairs, active or not. */
void accumulate_group(const wire *w, const int32_t *const *pairs, int32_t count, int32_t *const *to);

/* Event by event in fours, from digits: whether there is; deliver to `to` (targets). */
int nmbrl_loihi_has_fours(void);
void deliver_events(const wire *w, const events *e, int32_t *to);

/* Run a network whose messages are kept as events, which `net->events` says; see nmbrl_loihi_run. */
void run_events(
    const network *net, int32_t *numbers, int32_t *stored, uint8_t *arrived, int32_t *scratch, int64_t time,
    int64_t lanes, int64_t steps, const hosts *host, int64_t *counts);

/* Products of matrices: whether there are, and before and after their use; matrices of messages as one plane of bytes, or
   as a low one without sign and a high one; what they deliver to `to` (lanes, targets), null in lanes that send nothing. */
int nmbrl_loihi_has_matrices(void);
void open_matrices(void);
void close_matrices(void);
void pack_bytes(const int32_t *messages, int32_t size, int planes, uint8_t *low, uint8_t *high);
void multiply_lanes(
    const wire *w, int32_t sources, int planes, int are_signed, const uint8_t *low, const uint8_t *high,
    int32_t *const *to, int lanes);

/* Run a spiking network in SPIKING_LANES at most, the first of which has these numbers; see nmbrl_loihi_run. Whether that
   can be done. */
int nmbrl_loihi_has_tables(void);
void run_spikes(
    const network *net, int32_t *numbers, int32_t *stored, uint8_t *arrived, int32_t *scratch, int64_t time,
    int64_t lanes, int64_t steps, const hosts *host, int64_t *counts);

/* Note what is too wide: of a leaky neuron, before it is updated; of others, afterwards. */
void check_leaky(const population *p, const int32_t *state, const int32_t *arriving, int64_t time, place at);
void check_population(
    const population *p, const int32_t *state, const int32_t *arriving, const int32_t *y, const int32_t *messages,
    place at);

/* Neurons of a population with those that fill its last block. */
static inline int32_t padded(int32_t size)
{
    return (size + BLOCK - 1) / BLOCK * BLOCK;
}

/* sign(x) * (|x| * (4096 - decay) >> 12) */
static inline int32_t decayed(int32_t x, int32_t decay)
{
    uint32_t sign = (uint32_t)(x >> 31), size = ((uint32_t)x ^ sign) - sign, keep = (uint32_t)(4096 - decay);
    /* In two parts, so that no product needs more than 32 bits. */
    uint32_t rest = (size >> 12) * keep + ((size & 4095) * keep >> 12);
    return (int32_t)((rest ^ sign) - sign);
}

/* Run `steps` steps in `lanes` lanes, of which each of `threads` has a part, so that what it needs is in its cache: `share`
   at a time, of its own part and then of those of others; `taken`, which all have in common, says how many of each part are.
   numbers: state variables (lanes, numbers); stored: what is under way (lanes, steps from now, ports), with anything in
   it where `arrived` (lanes, steps from now, populations) is 0; scratch: a thread's own zeros, `lanes` of the network and
   what they share; host: what is given in each of the first `given_steps` steps; counts: a thread's own, messages (period,
   counters); record: all messages (steps, lanes, counters), zeros before, or null; found: null, or where a thread's own
   overflows are noted. */
void nmbrl_loihi_run(
    const network *net, int32_t *numbers, int32_t *stored, uint8_t *arrived, int32_t *scratch, int64_t time,
    int64_t lanes, int64_t steps, const given *host, int64_t host_count, int64_t given_steps, int64_t *counts,
    int32_t *record, overflow *found, int64_t share, int64_t thread, int64_t threads, int64_t *taken);

#endif
