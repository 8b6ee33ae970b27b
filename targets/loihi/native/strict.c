/* The chip's widths: the first number that is too wide, in the order in which the NumPy simulator looks. */
#include <stddef.h>

#include "loihi.h"

typedef struct {
    int64_t step, population;
    overflow *found;
} place;

/* Keep the earliest; of the same number in several lanes, the farthest out. */
static void note(place at, enum variable variable, int64_t amount)
{
    overflow *found = at.found, here = {at.step, at.population, variable, amount};
    int64_t order;
    if (amount <= 0)
        return;
    order = here.step - found->step;
    order = order ? order : here.population - found->population;
    order = order ? order : here.variable - found->variable;
    if (found->amount == 0 || order < 0 || (order == 0 && amount > found->amount))
        *found = here;
}

static void check(place at, enum variable variable, const int32_t *values, const int32_t *bias, int32_t size, int32_t bits)
{
    int64_t limit = (int64_t)1 << (bits - 1), above, below;
    int32_t low = 0, high = 0;
    for (int32_t i = 0; i < size; i++) {
        int32_t x = bias ? values[i] + bias[i] : values[i];
        low = x < low ? x : low;
        high = x > high ? x : high;
    }
    above = high - (limit - 1);
    below = -limit - low;
    note(at, variable, above > below ? above : below);
}

static void check_product(place at, const population *p, const int32_t *a, const int32_t *b, int32_t bits)
{
    int64_t limit = (int64_t)1 << (bits - 1), amount = 0;
    for (int32_t i = 0; i < p->size; i++) {
        int64_t first = (a[i] + p->bias[0][i]) >> p->operand_shift[0];
        int64_t x = first * ((b[i] + p->bias[1][i]) >> p->operand_shift[1]);
        int64_t beyond = x < 0 ? -limit - x : x - (limit - 1);
        amount = beyond > amount ? beyond : amount;
    }
    note(at, PRODUCT_OF_BOTH, amount);
}

void check_population(
    const population *p, const int32_t *lane, const int32_t *arriving, const int32_t *y, const int32_t *messages,
    const widths *w, int64_t step, int64_t index, overflow *found)
{
    static const enum variable inputs[] = {INPUT_0, INPUT_1}, sums[] = {ACCUMULATOR_0, ACCUMULATOR_1};
    static const enum variable biased[] = {BIASED_0, BIASED_1};
    place at = {step, index, found};
    const int32_t *accumulator = lane + p->accumulator;
    int32_t stride = padded(p->size);
    for (int port = 0; port < p->ports; port++) {
        check(at, inputs[port], arriving + p->accumulator + port * stride, NULL, p->size, w->synaptic);
        check(at, sums[port], accumulator + port * stride, NULL, p->size, w->state);
        check(at, biased[port], accumulator + port * stride, p->bias[port], p->size, w->state);
    }
    if (p->kind == PRODUCT)
        check_product(at, p, accumulator, accumulator + stride, w->product);
    check(at, ACTIVATION, y, NULL, p->size, w->state);
    check(at, MESSAGE, messages, NULL, p->size, p->message_bits);
}
