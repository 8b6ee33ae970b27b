/* Spiking networks in many lanes, 16 to a vector: what arrives at a population is summed up from what others have sent.

   Four neurons that send or do not have 16 sums of weights. A table of 64 bytes holds those of 16 sources to a target; its
   index has, for each of 16 lanes, four bytes that say which of the four times 16 sums to take. */
#include <stddef.h>
#include <string.h>

#include "loihi.h"

#if defined(__AVX512VBMI__) && defined(__AVX512VNNI__)
#include <immintrin.h>

#include "leaky.h"
#include "transpose.h"

#define INLINE static inline __attribute__((always_inline))
/* Sources of a look-up in two tables, whose bytes have room for the sums of both. */
#define SOURCES 32
/* Targets that go through all sources together. */
#define TARGETS 4
/* Bytes of tables of a target, and of indices, for each SOURCES. */
#define TABLES 128

/* A vector of lanes: variables are (numbers, VECTOR), what is sent is kept for `slots` steps. */
typedef struct {
    int32_t *numbers;
    uint8_t *index;    /* (slots, net->indices) */
    int32_t *messages; /* (slots, net->inputs, VECTOR) of inputs, whose messages may be numbers */
    uint8_t *graded;   /* (slots, populations): whether any is */
} vector;

typedef struct {
    const network *net;
    vector vector[VECTORS];
    int count;
    int32_t *stored; /* of the first lane */
    uint8_t *arrived;
    int64_t steps;   /* of the call */
} block;

/* Numbers of a block of neurons; and the lanes in which each sends. */
typedef int32_t numbers_of[BLOCK][VECTOR];
typedef uint16_t lanes_of[BLOCK][VECTORS];

/* As an instruction, as compilers make copies of sums around the intrinsic. */
INLINE __m512i add_fours(__m512i sum, __m512i ones, __m512i bytes)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(ones), "v"(bytes));
    return sum;
}

/* What a source sent, and the tables for a block of its targets. */
typedef struct {
    const wire *wire;
    const uint8_t *index[VECTORS], *tables;
    int32_t depth;
} job;

/* Jobs are summed up in registers where what they deliver is scaled alike. */
#define MOST_JOBS 8

INLINE int alike(const wire *a, const wire *b)
{
    return a->factor == b->factor && a->planes == b->planes && !a->right_shift && !b->right_shift;
}

/* Add to the sums of a block of targets, or set them where they are new, in `count` vectors of lanes. */
INLINE void look_up(const job *jobs, int all, int count, int are_new, numbers_of *sums)
{
    const wire *w = jobs->wire;
    const __m512i ones = _mm512_set1_epi8(1), factor = _mm512_set1_epi32(w->factor);
    const __m128i shift = _mm_cvtsi32_si128(w->right_shift);
    for (int32_t t = 0; t < BLOCK; t += TARGETS) {
        __m512i sum[TARGETS][VECTORS];
        for (int i = 0; i < TARGETS; i++)
            for (int v = 0; v < count; v++)
                sum[i][v] = _mm512_setzero_si512();
        for (int plane = 0; plane < w->planes; plane++) {
            if (plane)
                for (int i = 0; i < TARGETS; i++)
                    for (int v = 0; v < count; v++)
                        sum[i][v] = _mm512_slli_epi32(sum[i][v], 4);
            for (const job *j = jobs; j < jobs + all; j++) {
                const uint8_t *table = j->tables + (t * w->planes + plane * TARGETS) * j->depth * TABLES;
                for (int32_t k = 0; k < j->depth; k++) {
                    __m512i even[VECTORS], odd[VECTORS];
                    for (int v = 0; v < count; v++) {
                        even[v] = _mm512_loadu_si512(j->index[v] + TABLES * k);
                        odd[v] = _mm512_loadu_si512(j->index[v] + TABLES * k + TABLES / 2);
                    }
                    for (int i = 0; i < TARGETS; i++, table += TABLES) {
                        __m512i one = _mm512_loadu_si512(table), two = _mm512_loadu_si512(table + TABLES / 2);
                        __asm__("" : "+v"(one), "+v"(two)); /* loaded once: compilers would for every vector of lanes */
                        for (int v = 0; v < count; v++) {
                            __m512i found = _mm512_permutexvar_epi8(even[v], one);
                            found = _mm512_add_epi8(found, _mm512_permutexvar_epi8(odd[v], two));
                            sum[i][v] = add_fours(sum[i][v], ones, found);
                        }
                    }
                }
            }
        }
        for (int i = 0; i < TARGETS; i++)
            for (int v = 0; v < count; v++) {
                int32_t *to = sums[v][t + i];
                __m512i scaled = _mm512_sra_epi32(_mm512_mullo_epi32(sum[i][v], factor), shift);
                _mm512_storeu_si512(to, are_new ? scaled : _mm512_add_epi32(_mm512_loadu_si512(to), scaled));
            }
    }
}

/* See fours.c; weights of 16 bits are in pairs. */
static int32_t weight_at(const wire *w, int32_t source, int32_t target)
{
    int64_t stride = (w->targets + 63) / 64 * 64;
    int32_t column = target / 64 * 64 + target % 16 / 4 * 16 + target % 64 / 16 * 4 + target % 4;
    if (w->rows)
        return w->rows[source * stride + column] - w->excess;
    return ((const int16_t *)w->weights)[2 * ((int64_t)(source / 2) * w->targets + target) + source % 2];
}

/* The same of messages that are numbers, in a vector of lanes. */
static void multiply(const wire *w, int32_t first, int32_t sources, const int32_t *messages, numbers_of sums)
{
    for (int32_t t = 0; t < BLOCK; t++) {
        int32_t sum[VECTOR] = {0};
        for (int32_t s = 0; s < sources; s++) {
            int32_t weight = weight_at(w, s, first + t);
            for (int lane = 0; lane < VECTOR; lane++)
                sum[lane] += weight * messages[s * VECTOR + lane];
        }
        for (int lane = 0; lane < VECTOR; lane++)
            sums[t][lane] += (sum[lane] * w->factor) >> w->right_shift;
    }
}

/* What each target's one source sends; spikes are bits of an index. */
static void pass_diagonal(
    const wire *w, int32_t first, int32_t sources, const uint8_t *index, const int32_t *messages, numbers_of sums)
{
    const int16_t *weights = w->weights;
    for (int32_t t = 0; t < BLOCK && first + t < w->targets; t++) {
        int32_t s = first + t + w->offset;
        if (s < 0 || s >= sources)
            continue;
        for (int lane = 0; lane < VECTOR; lane++) {
            int32_t bit = index[s / 16 * 64 + 4 * lane + s / 4 % 4] >> s % 4 & 1;
            int32_t message = messages ? messages[s * VECTOR + lane] : bit;
            sums[t][lane] += (weights[first + t] * message) >> w->right_shift;
        }
    }
}

/* Sums of a block of neurons that are being collected: nothing is in them yet, and jobs that are not done. */
typedef struct {
    numbers_of *sums;
    int count, are_new, jobs;
    job job[MOST_JOBS];
} sums_of;

/* Do the jobs. */
static void settle(sums_of *s)
{
    if (s->jobs && s->count == VECTORS)
        look_up(s->job, s->jobs, VECTORS, s->are_new, s->sums);
    else if (s->jobs && s->count == 2)
        look_up(s->job, s->jobs, 2, s->are_new, s->sums);
    else if (s->jobs)
        look_up(s->job, s->jobs, 1, s->are_new, s->sums);
    else if (s->are_new)
        memset(s->sums, 0, sizeof(numbers_of) * (size_t)s->count);
    s->are_new = s->jobs = 0;
}

/* Add what a wire delivers to a block of neurons of what its source sent in a slot. */
static void deliver(const block *b, const wire *w, int32_t first, int64_t slot, sums_of *s)
{
    const network *net = b->net;
    const population *source = net->population + w->source;
    const int32_t *messages[VECTORS];
    job made = {.wire = w, .depth = (source->size + SOURCES - 1) / SOURCES};
    int numbers = 0;
    made.tables = w->diagonal ? NULL : w->tables + (int64_t)first * w->planes * made.depth * TABLES;
    for (int v = 0; v < b->count; v++) {
        const vector *lanes = b->vector + v;
        int graded = lanes->graded[slot * net->populations + w->source] && !w->binary;
        made.index[v] = lanes->index + slot * net->indices + source->index;
        messages[v] = graded ? lanes->messages + (slot * net->inputs + source->input) * VECTOR : NULL;
        numbers += graded;
    }
    if (w->diagonal || numbers || s->jobs == MOST_JOBS || (s->jobs && !alike(s->job->wire, w)))
        settle(s);
    if (!w->diagonal && !numbers)
        s->job[s->jobs++] = made;
    else
        for (int v = 0; v < b->count; v++)
            if (w->diagonal)
                pass_diagonal(w, first, source->size, made.index[v], messages[v], s->sums[v]);
            else if (messages[v])
                multiply(w, first, source->size, messages[v], s->sums[v]);
            else
                look_up(&(job){w, {made.index[v]}, made.tables, made.depth}, 1, 1, 0, s->sums + v);
}

/* Sum up what arrives at a block of neurons in a step of the call, or would after its last. */
static void collect(const block *b, int64_t index, int32_t first, int64_t step, numbers_of *sums)
{
    const network *net = b->net;
    int64_t row = (int64_t)net->stored * net->ports, flags = (int64_t)net->stored * net->populations;
    sums_of s = {.sums = sums, .count = b->count, .are_new = step >= net->stored};
    for (int v = 0; v < b->count && step < net->stored; v++) {
        const uint8_t *arrived = b->arrived + VECTOR * v * flags + step * net->populations + index;
        int32_t *stored = b->stored + VECTOR * v * row + step * net->ports + net->population[index].port + first;
        for (int lane = 0; lane < VECTOR; lane++)
            if (!arrived[lane * flags])
                memset(stored + lane * row, 0, sizeof(int32_t) * BLOCK);
        gather(stored, row, BLOCK, sums[v][0]);
    }
    for (const wire *w = net->wire; w < net->wire + net->wires; w++) {
        int64_t sent = step - 1 - w->delay;
        if (w->target == index && sent >= 0 && sent < b->steps)
            deliver(b, w, first, sent % net->slots, &s);
    }
    settle(&s);
}

/* Update a block of an input's neurons; return whether any message is other than 0 and 1. */
static int update_input(const population *p, int32_t first, int32_t *numbers, int32_t *messages, uint16_t *sends)
{
    int32_t *sent = numbers, *given = numbers + padded(p->size) * VECTOR;
    __m512i bits = _mm512_setzero_si512();
    for (int32_t n = first; n < first + BLOCK; n++, sends += VECTORS) {
        __m512i before = _mm512_loadu_si512(sent + n * VECTOR), now = _mm512_loadu_si512(given + n * VECTOR);
        __m512i change = _mm512_sub_epi32(now, before);
        __mmask16 large = _mm512_cmpge_epi32_mask(_mm512_abs_epi32(change), _mm512_set1_epi32(p->parameter[0][n]));
        change = _mm512_maskz_mov_epi32(large, change);
        _mm512_storeu_si512(messages + n * VECTOR, change);
        _mm512_storeu_si512(sent + n * VECTOR, _mm512_add_epi32(before, change));
        *sends = _mm512_test_epi32_mask(change, change);
        bits = _mm512_or_si512(bits, change);
    }
    return _mm512_test_epi32_mask(bits, _mm512_set1_epi32(-2)) != 0;
}

INLINE void step_block(
    const int32_t *const *parameter, int32_t first, int32_t *u, int32_t *v, const int32_t *given, numbers_of sums,
    uint16_t *sends)
{
    __mmask16 below;
    for (int n = 0; n < BLOCK; n++) {
        int at = n * VECTOR;
        sends[n * VECTORS] = step_leaky(
            parameter, first + n, 1, u + at, v + at, given ? given + at : NULL, _mm512_loadu_si512(sums[n]), 0, &below);
    }
}

static void update_leaky(
    const population *p, int32_t first, int32_t *numbers, numbers_of sums, int64_t time, uint16_t *sends)
{
    int32_t size = padded(p->size) * VECTOR, *u = numbers + first * VECTOR, *v = u + size;
    const int32_t *parameter[9];
    memcpy(parameter, p->parameter, sizeof parameter);
    if (p->reset_interval && (time + 1 - p->reset_offset) % p->reset_interval == 0) {
        memset(u, 0, sizeof(numbers_of));
        memset(v, 0, sizeof(numbers_of));
    }
    if (p->takes)
        step_block(parameter, first, u, v, v + size, sums, sends);
    else
        step_block(parameter, first, u, v, NULL, sums, sends);
}

/* Which of the sums of every four sources to take. */
static void make_index(const uint16_t *sends, uint8_t *index)
{
    __m512i fours = _mm512_set1_epi32(0x30201000);
    for (int i = 0; i < BLOCK; i++, sends += VECTORS)
        fours = _mm512_mask_or_epi32(fours, *sends, fours, _mm512_set1_epi32(1 << (i / 4 * 8 + i % 4)));
    _mm512_storeu_si512(index, fours);
}

/* Take what the host gives a population in a step. */
static void take(const block *b, const hosts *host, int64_t step, int64_t index)
{
    if (step >= host->steps)
        return;
    for (const given *h = host->first; h < host->first + host->count; h++)
        for (int v = 0; h->population == index && v < b->count; v++) {
            const int32_t *values = h->values + (step * host->all_lanes + host->lane + VECTOR * v) * h->size;
            gather(values, h->size, (int32_t)h->size, b->vector[v].numbers + h->first * VECTOR);
        }
}

/* Neurons that fill a population's last block send nothing: all of theirs is 0, and no threshold is below. */
static void go_on(const block *b, const hosts *host, int64_t time, int64_t step, int64_t index, int64_t *counts)
{
    const network *net = b->net;
    const population *p = net->population + index;
    int64_t slot = step % net->slots;
    numbers_of sums[VECTORS];
    lanes_of sends = {{0}};
    take(b, host, step, index);
    counts += (time + step) % net->period * net->counters + p->counter;
    for (int v = 0; v < b->count; v++)
        b->vector[v].graded[slot * net->populations + index] = 0;
    for (int32_t first = 0; first < p->size; first += BLOCK) {
        if (p->kind == LIF)
            collect(b, index, first, step, sums);
        for (int v = 0; v < b->count; v++) {
            const vector *lanes = b->vector + v;
            int32_t *numbers = lanes->numbers + p->state * VECTOR;
            int32_t *messages = lanes->messages + (slot * net->inputs + p->input) * VECTOR;
            if (p->kind == LIF)
                update_leaky(p, first, numbers, sums[v], time + step, sends[0] + v);
            else if (update_input(p, first, numbers, messages, sends[0] + v))
                lanes->graded[slot * net->populations + index] = 1;
            make_index(sends[0] + v, lanes->index + slot * net->indices + p->index + 4 * first);
        }
        for (int32_t n = first; n < p->size && n < first + BLOCK; n++) {
            uint64_t all;
            memcpy(&all, sends[n - first], sizeof all);
            counts[n] += __builtin_popcountll(all);
        }
    }
}

/* Variables that change: nothing is given to most leaky neurons. */
static int32_t numbers_in_use(const population *p)
{
    return (p->kind == LIF && p->takes ? 3 : 2) * padded(p->size);
}

void run_spikes(
    const network *net, int32_t *numbers, int32_t *stored, uint8_t *arrived, int32_t *scratch, int64_t time, int count,
    int64_t steps, const hosts *host, int64_t *counts)
{
    block b = {.net = net, .count = count, .stored = stored, .arrived = arrived, .steps = steps};
    for (int v = 0; v < count; v++) {
        int32_t *rest = scratch;
        vector *lanes = b.vector + v;
        lanes->numbers = rest;
        lanes->index = (uint8_t *)(rest += net->numbers * VECTOR);
        lanes->messages = rest += net->slots * net->indices / 4;
        lanes->graded = (uint8_t *)(rest + net->slots * net->inputs * VECTOR);
        scratch += net->spikes;
        for (const population *p = net->population; p < net->population + net->populations; p++)
            gather(
                numbers + v * VECTOR * (int64_t)net->numbers + p->state, net->numbers, numbers_in_use(p),
                lanes->numbers + p->state * VECTOR);
    }
    for (int64_t first = 0; first < steps; first += net->chunk)
        for (int32_t group = 0, start = 0; group < net->groups; start = net->ends[group++])
            for (int64_t step = first; step < steps && step < first + net->chunk; step++)
                for (int32_t i = start; i < net->ends[group]; i++)
                    go_on(&b, host, time, step, net->order[i], counts);
    for (int32_t index = 0; index < net->populations; index++) {
        const population *p = net->population + index;
        for (int64_t k = 0; p->kind == LIF && k < net->stored; k++) {
            for (int32_t first = 0; first < p->size; first += BLOCK) {
                int32_t *to = stored + k * net->ports + p->port + first;
                numbers_of sums[VECTORS];
                collect(&b, index, first, steps + k, sums);
                for (int v = 0; v < count; v++, to += VECTOR * (int64_t)net->stored * net->ports)
                    scatter(sums[v][0], BLOCK, (int64_t)net->stored * net->ports, to);
            }
            for (int64_t lane = 0; lane < VECTOR * count; lane++)
                arrived[(lane * net->stored + k) * net->populations + index] = 1;
        }
        for (int v = 0; v < count; v++)
            scatter(
                b.vector[v].numbers + p->state * VECTOR, numbers_in_use(p), net->numbers,
                numbers + v * VECTOR * (int64_t)net->numbers + p->state);
    }
}

int nmbrl_loihi_has_tables(void)
{
    return 1;
}

#else

int nmbrl_loihi_has_tables(void)
{
    return 0;
}

void run_spikes(
    const network *net, int32_t *numbers, int32_t *stored, uint8_t *arrived, int32_t *scratch, int64_t time, int count,
    int64_t steps, const hosts *host, int64_t *counts)
{
    (void)net, (void)numbers, (void)stored, (void)arrived, (void)scratch, (void)time, (void)count;
    (void)steps, (void)host, (void)counts;
}

#endif
