/* What arrives at neurons in vectors of lanes, summed up from what others have sent.

   Four neurons that send or do not have 16 sums of weights. A table of 64 bytes holds those of 16 sources to a target; its
   index has, for each of 16 lanes, four bytes that say which of the four times 16 sums to take. */
#include <string.h>

#include "loihi.h"

#if defined(__AVX512VBMI__) && defined(__AVX512VNNI__)
#include "spikes.h"

/* Sources of a look-up in two tables, whose bytes have room for the sums of both. */
#define SOURCES 32
/* Targets that go through all sources together; divides BLOCK. */
#define TARGETS 4
/* So that no sum needs an address. */
#define UNROLL _Pragma("GCC unroll 4")
/* Bytes of tables of a target, and of indices, for each SOURCES. */
#define TABLES 128

/* As an instruction, as compilers make copies of sums around the intrinsic. */
INLINE __m512i add_fours(__m512i sum, __m512i ones, __m512i bytes)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(ones), "v"(bytes));
    return sum;
}

/* Whether sums of what two wires deliver can be scaled together. */
INLINE int alike(const delivery *a, const delivery *b)
{
    const wire *one = a->wire, *two = b->wire;
    return one->factor == two->factor && one->planes == two->planes && !one->right_shift && !two->right_shift;
}

/* Add `all` deliveries from tables to the sums of BLOCK targets, or set them where they are new. */
INLINE void look_up(const delivery *from, int all, int count, int32_t first, int are_new, numbers_of *sums)
{
    const wire *w = from->wire;
    const __m512i ones = _mm512_set1_epi8(1);
    for (int32_t t = 0; t < BLOCK; t += TARGETS) {
        __m512i sum[TARGETS][VECTORS];
        UNROLL for (int i = 0; i < TARGETS; i++)
            UNROLL for (int v = 0; v < count; v++)
                sum[i][v] = _mm512_setzero_si512();
        for (int plane = 0; plane < w->planes; plane++) {
            if (plane)
                UNROLL for (int i = 0; i < TARGETS; i++)
                    UNROLL for (int v = 0; v < count; v++)
                        sum[i][v] = _mm512_slli_epi32(sum[i][v], 4);
            for (const delivery *d = from; d < from + all; d++) {
                const uint8_t *table = d->wire->tables + ((first + t) * w->planes + plane * TARGETS) * d->depth * TABLES;
                for (int64_t at = 0; at < d->depth * TABLES; at += TABLES) {
                    __m512i even[VECTORS], odd[VECTORS];
                    UNROLL for (int v = 0; v < count; v++) {
                        even[v] = _mm512_loadu_si512(d->index[v] + at);
                        odd[v] = _mm512_loadu_si512(d->index[v] + at + TABLES / 2);
                    }
                    UNROLL for (int i = 0; i < TARGETS; i++, table += TABLES) {
                        __m512i one = _mm512_loadu_si512(table), two = _mm512_loadu_si512(table + TABLES / 2);
                        __asm__("" : "+v"(one), "+v"(two)); /* loaded once: compilers would for every vector */
                        UNROLL for (int v = 0; v < count; v++) {
                            __m512i found = _mm512_permutexvar_epi8(even[v], one);
                            found = _mm512_add_epi8(found, _mm512_permutexvar_epi8(odd[v], two));
                            sum[i][v] = add_fours(sum[i][v], ones, found);
                        }
                    }
                }
            }
        }
        UNROLL for (int i = 0; i < TARGETS; i++)
            UNROLL for (int v = 0; v < count; v++) {
                int32_t *to = sums[t + i][v];
                /* From memory: there are no registers left. */
                __m512i scaled = _mm512_mullo_epi32(sum[i][v], _mm512_set1_epi32(w->factor));
                scaled = _mm512_sra_epi32(scaled, _mm_cvtsi32_si128(w->right_shift));
                _mm512_storeu_si512(to, are_new ? scaled : _mm512_add_epi32(_mm512_loadu_si512(to), scaled));
            }
    }
}

/* See fours.h; weights of 16 bits are in pairs. */
static int32_t weight_at(const wire *w, int32_t source, int32_t target)
{
    int32_t place = target % 16 / 4 * 16 + target % 64 / 16 * 4 + target % 4;
    if (w->rows)
        return w->rows[((int64_t)(target / 64) * w->sources + source) * 64 + place] - w->excess;
    return ((const int16_t *)w->weights)[2 * ((int64_t)(source / 2) * w->targets + target) + source % 2];
}

/* The same of messages that are numbers, in a vector of lanes. */
static void multiply(const wire *w, int32_t first, int32_t sources, const int32_t *messages, int v, numbers_of *sums)
{
    for (int32_t t = 0; t < BLOCK; t++) {
        int32_t sum[VECTOR] = {0};
        for (int32_t s = 0; s < sources; s++) {
            int32_t weight = weight_at(w, s, first + t);
            for (int lane = 0; lane < VECTOR; lane++)
                sum[lane] += weight * messages[s * VECTOR + lane];
        }
        for (int lane = 0; lane < VECTOR; lane++)
            sums[t][v][lane] += (sum[lane] * w->factor) >> w->right_shift;
    }
}

/* What each target's one source sends; spikes are bits of an index. */
static void pass_diagonal(
    const wire *w, int32_t first, int32_t sources, const uint8_t *index, const int32_t *messages, int v, numbers_of *sums)
{
    const int16_t *weights = w->weights;
    for (int32_t t = 0; t < BLOCK && first + t < w->targets; t++) {
        int32_t s = first + t + w->offset;
        if (s < 0 || s >= sources)
            continue;
        for (int lane = 0; lane < VECTOR; lane++) {
            int32_t bit = index[s / 16 * 64 + 4 * lane + s / 4 % 4] >> s % 4 & 1;
            int32_t message = messages ? messages[s * VECTOR + lane] : bit;
            sums[t][v][lane] += (weights[first + t] * message) >> w->right_shift;
        }
    }
}

/* The same in some vectors. */
static void look_up_all(
    const delivery *from, int all, int count, int32_t first, int are_new, numbers_of *sums)
{
    if (count == VECTORS)
        look_up(from, all, VECTORS, first, are_new, sums);
    else if (count == 2)
        look_up(from, all, 2, first, are_new, sums);
    else
        look_up(from, all, 1, first, are_new, sums);
}

int find_deliveries(const block *b, int64_t index, int64_t step, delivery *found)
{
    const network *net = b->net;
    int count = 0;
    for (const wire *w = net->wire; w < net->wire + net->wires; w++) {
        const population *source = net->population + w->source;
        int64_t sent = step - 1 - w->delay, slot = sent % slots_of(b->net);
        if (w->target != index || sent < 0 || sent >= b->steps)
            continue;
        delivery *d = found + count++;
        *d = (delivery){.wire = w, .depth = (source->size + SOURCES - 1) / SOURCES};
        for (int v = 0; v < b->count; v++) {
            const vector *lanes = b->vector + v;
            int graded = lanes->graded[slot * net->populations + w->source] && !w->binary;
            d->index[v] = lanes->index + slot * net->indices + source->index;
            d->messages[v] = graded ? lanes->messages + (slot * net->inputs + source->input) * VECTOR : NULL;
            d->numbers += graded;
        }
    }
    return count;
}

/* Deliver one by one, in each vector, what is not in tables. */
static void deliver(const block *b, const delivery *d, int32_t first, numbers_of *sums)
{
    const wire *w = d->wire;
    int32_t sources = b->net->population[w->source].size;
    for (int v = 0; v < b->count; v++) {
        delivery alone = {.wire = w, .depth = d->depth, .index = {d->index[v]}};
        if (w->diagonal)
            pass_diagonal(w, first, sources, d->index[v], d->messages[v], v, sums);
        else if (d->messages[v])
            multiply(w, first, sources, d->messages[v], v, sums);
        else
            look_up(&alone, 1, 1, first, 0, (numbers_of *)sums[0][v]);
    }
}

void collect(const block *b, const delivery *from, int all, int32_t first, int are_new, numbers_of *sums)
{
    for (const delivery *d = from, *end = from + all; d < end;) {
        int together = 1, in_tables = !d->wire->diagonal && !d->numbers;
        if (in_tables) {
            while (d + together < end && !d[together].wire->diagonal && !d[together].numbers && alike(d, d + together))
                together++;
            look_up_all(d, together, b->count, first, are_new, sums);
        } else {
            if (are_new)
                memset(sums, 0, sizeof(numbers_of) * BLOCK);
            deliver(b, d, first, sums);
        }
        are_new = 0;
        d += together;
    }
    if (are_new)
        memset(sums, 0, sizeof(numbers_of) * BLOCK);
}

#endif
