/* Steps: what arrives is taken in, populations that anything arrived at are updated, and their messages go on. */
#include <stddef.h>
#include <string.h>

#include "loihi.h"

/* Synapses multiply 16 bits; wider messages pass in parts of 15 bits and a rest. */
#define PART_BITS 15

/* A lane in a step, with the messages of the population that was just updated. What is under way is in scratch memory,
   which stays in the cache; only what still is when the steps end is stored. */
typedef struct {
    int32_t *numbers, *stored;
    uint8_t *stored_arrived, *arrived;
    int32_t *under_way;
    int32_t *y, *messages, *pairs, *active, *sums, *part;
    int32_t count; /* active pairs; -1 where messages are too wide for one part */
    int sends;
} lane;

static int32_t *under_way(const network *net, const lane *l, int64_t slot)
{
    return l->under_way + slot * net->ports;
}

static uint8_t *arrived(const network *net, const lane *l, int64_t slot)
{
    return l->arrived + slot * net->populations;
}

/* Move what is under way between where it is stored, by steps from now, and scratch memory, which holds zeros elsewhere. */
static void move_under_way(const network *net, const lane *l, int64_t now, int into_scratch)
{
    for (int64_t k = 0; k < net->slots; k++) {
        int64_t slot = (now + k) % net->slots;
        uint8_t *stored_flag = l->stored_arrived + k * net->populations, *flag = arrived(net, l, slot);
        for (int64_t index = 0; index < net->populations; index++) {
            const population *p = net->population + index;
            size_t bytes = sizeof(int32_t) * (size_t)(p->ports * padded(p->size));
            int32_t *stored = l->stored + k * net->ports + p->port, *here = under_way(net, l, slot) + p->port;
            if (into_scratch) {
                flag[index] = stored_flag[index];
                if (flag[index])
                    memcpy(here, stored, bytes);
            } else {
                stored_flag[index] = flag[index];
                if (flag[index]) {
                    memcpy(stored, here, bytes);
                    memset(here, 0, bytes);
                }
            }
        }
    }
}

static int is_wide(const int32_t *messages, int32_t size, int32_t shift)
{
    int32_t wide = 0;
    for (int32_t i = 0; i < size; i++)
        wide |= (messages[i] >> shift) != (int16_t)(messages[i] >> shift);
    return wide != 0;
}

/* Pair messages up, and return how many pairs are not 0. */
static int32_t pack(const lane *l, int32_t size, int32_t shift, int32_t mask)
{
    const int32_t *messages = l->messages;
    int32_t *restrict pairs = l->pairs, *restrict active = l->active, n = 0;
    for (int32_t k = 0; 2 * k < size; k++) {
        uint32_t low = (uint32_t)((messages[2 * k] >> shift) & mask);
        uint32_t high = (uint32_t)((messages[2 * k + 1] >> shift) & mask);
        uint32_t pair = (low & 0xffff) | high << 16;
        pairs[k] = (int32_t)pair;
        active[n] = k;
        n += pair != 0;
    }
    return n;
}

/* Sum what messages of any width deliver. */
static void sum_parts(const lane *l, const wire *w, int32_t size)
{
    memset(l->sums, 0, sizeof(int32_t) * (size_t)w->targets);
    for (int32_t shift = 0, more = 1; more; shift += PART_BITS) {
        more = is_wide(l->messages, size, shift);
        int32_t count = pack(l, size, shift, more ? (1 << PART_BITS) - 1 : -1);
        memset(l->part, 0, sizeof(int32_t) * (size_t)w->targets);
        accumulate(l->part, w->targets, w->weights, l->pairs, l->active, count);
        for (int32_t t = 0; t < w->targets; t++)
            l->sums[t] += l->part[t] << shift;
    }
}

static void deliver_diagonal(const lane *l, const wire *w, int32_t size, int32_t *restrict sums)
{
    int32_t first = w->offset < 0 ? -w->offset : 0;
    int32_t last = size - w->offset < w->targets ? size - w->offset : w->targets;
    const int32_t *messages = l->messages + w->offset;
    for (int32_t t = first; t < last; t++)
        sums[t] += (w->weights[t] * messages[t]) >> w->right_shift;
}

static int32_t *destination(const network *net, const lane *l, const wire *w, int64_t time)
{
    return under_way(net, l, (time + 1 + w->delay) % net->slots) + w->port;
}

/* Sums that are shifted right before they count are made beside their destination. */
static int32_t *begin_sums(const lane *l, const wire *w, int32_t *destination)
{
    if (!w->right_shift)
        return destination;
    return memset(l->sums, 0, sizeof(int32_t) * (size_t)w->targets);
}

static void end_sums(const int32_t *sums, const wire *w, int32_t *destination)
{
    if (sums != destination)
        for (int32_t t = 0; t < w->targets; t++)
            destination[t] += sums[t] >> w->right_shift;
}

static void deliver(const network *net, const lane *l, const wire *w, int32_t size, int64_t time)
{
    int32_t *to = destination(net, l, w, time);
    if (w->diagonal) {
        deliver_diagonal(l, w, size, to);
    } else if (l->count < 0) {
        sum_parts(l, w, size);
        end_sums(l->sums, w, to);
    } else {
        int32_t *sums = begin_sums(l, w, to);
        accumulate(sums, w->targets, w->weights, l->pairs, l->active, l->count);
        end_sums(sums, w, to);
    }
}

/* Deliver in several lanes at once; return whether that pays. */
static int deliver_group(const network *net, const lane *block, const wire *w, int32_t size, int64_t time)
{
    int32_t *sums[GROUP], *to[GROUP], count = (size + 1) / 2;
    const int32_t *pairs[GROUP];
    int64_t active = 0;
    for (int i = 0; i < GROUP; i++) {
        if (!block[i].sends || block[i].count < 0)
            return 0;
        active += block[i].count;
    }
    if (w->diagonal || 2 * active < GROUP * (int64_t)count)
        return 0;
    for (int i = 0; i < GROUP; i++) {
        to[i] = destination(net, block + i, w, time);
        sums[i] = begin_sums(block + i, w, to[i]);
        pairs[i] = block[i].pairs;
    }
    accumulate_group(sums, w->targets, w->weights, pairs, count);
    for (int i = 0; i < GROUP; i++)
        end_sums(sums[i], w, to[i]);
    return 1;
}

static void deliver_block(const network *net, const lane *block, int64_t here, const wire *w, int32_t size, int64_t time)
{
    int64_t slot = (time + 1 + w->delay) % net->slots;
    for (int64_t i = 0; i < here; i++)
        if (block[i].sends)
            arrived(net, block + i, slot)[w->target] = 1;
    for (int64_t i = 0; i < here; i++) {
        if (i % GROUP == 0 && i + GROUP <= here && deliver_group(net, block + i, w, size, time))
            i += GROUP - 1;
        else if (block[i].sends)
            deliver(net, block + i, w, size, time);
    }
}

/* Update a population of a lane where anything arrived, was given, or is still to be said. */
static void update(const network *net, lane *l, int64_t time, int told, place at)
{
    const population *p = net->population + at.index;
    uint8_t *has_arrived = arrived(net, l, time % net->slots) + at.index;
    int32_t *arriving = under_way(net, l, time % net->slots) + p->port, *state = l->numbers + p->state;
    l->sends = 0;
    if (!*has_arrived && !told)
        return;
    if (at.found && p->kind == LIF)
        check_leaky(p, state, arriving, time, at);
    update_population(p, state, arriving, time, l->y, l->messages);
    if (at.found)
        check_population(p, state, arriving, l->y, l->messages, at);
    if (*has_arrived)
        memset(arriving, 0, sizeof(int32_t) * (size_t)(p->ports * padded(p->size)));
    *has_arrived = 0;
    l->messages[p->size] = 0; /* the other half of the last pair */
    l->count = is_wide(l->messages, p->size, 0) ? -1 : pack(l, p->size, 0, -1);
    l->sends = l->count != 0;
}

/* From here on every message but 0 counts as 1. */
static void make_binary(lane *l, int32_t size)
{
    for (int32_t i = 0; i < size; i++)
        l->messages[i] = l->messages[i] != 0;
    l->count = pack(l, size, 0, -1);
}

static void count_messages(const population *p, const lane *l, int64_t *restrict counts, int32_t *record)
{
    for (int32_t i = 0; i < p->size; i++)
        counts[p->counter + i] += l->messages[i] != 0;
    if (record)
        memcpy(record + p->counter, l->messages, sizeof(int32_t) * (size_t)p->size);
}

static lane make_lane(
    const network *net, int32_t *numbers, int32_t *stored, uint8_t *stored_arrived, int32_t *scratch)
{
    lane made = {numbers, stored, stored_arrived, NULL, scratch, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0};
    int32_t **rows[SCRATCH] = {&made.y, &made.messages, &made.pairs, &made.active, &made.sums, &made.part};
    scratch += net->slots * net->ports;
    for (int row = 0; row < SCRATCH; row++, scratch += net->widest)
        *rows[row] = scratch;
    made.arrived = (uint8_t *)scratch;
    return made;
}

void nmbrl_loihi_run(
    const network *net, int32_t *numbers, int32_t *stored, uint8_t *arrived, int32_t *scratch, int64_t time,
    int64_t lanes, int64_t steps, const uint8_t *given, int64_t *counts, int32_t *record, overflow *found)
{
    int64_t slots = net->slots, populations = net->populations;
    lane block[LANES];
    for (int64_t first = 0; first < lanes; first += net->lanes) {
        int64_t here = lanes - first < net->lanes ? lanes - first : net->lanes;
        for (int64_t i = 0; i < here; i++) {
            int64_t l = first + i;
            block[i] = make_lane(
                net, numbers + l * net->numbers, stored + l * slots * net->ports, arrived + l * slots * populations,
                scratch + i * net->scratch);
            move_under_way(net, block + i, time, 1);
        }
        for (int64_t step = 0; step < steps; step++) {
            int64_t now = time + step;
            for (int64_t index = 0; index < populations; index++) {
                const population *p = net->population + index;
                const wire *wire = net->wire + p->first_wire, *end = wire + p->wires;
                int told = !net->rests || now == 0 || (step == 0 && given[index]);
                for (int64_t i = 0; i < here; i++) {
                    int64_t row = step * lanes + first + i;
                    update(net, block + i, now, told, (place){step, index, found});
                    if (block[i].sends)
                        count_messages(
                            p, block + i, counts + now % net->period * net->counters,
                            record ? record + row * net->counters : NULL);
                }
                for (int binary = 0; wire < end; wire++) {
                    for (int64_t i = 0; wire->binary && !binary && i < here; i++)
                        if (block[i].sends)
                            make_binary(block + i, p->size);
                    binary = wire->binary;
                    deliver_block(net, block, here, wire, p->size, now);
                }
            }
        }
        for (int64_t i = 0; i < here; i++)
            move_under_way(net, block + i, time + steps, 0);
    }
}
