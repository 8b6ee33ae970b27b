/* The chip's widths: the first number that is too wide, in the order of `Population.widths`. */
#include <stddef.h>

#include "loihi.h"

/* Keep the earliest; of the same number in several lanes, the farthest out. */
static void note(place at, int64_t variable, int64_t amount)
{
    overflow *found = at.found, here = {at.step, at.index, variable, amount};
    int64_t order;
    if (amount <= 0)
        return;
    order = here.step - found->step;
    order = order ? order : here.population - found->population;
    order = order ? order : here.variable - found->variable;
    if (found->amount == 0 || order < 0 || (order == 0 && amount > found->amount))
        *found = here;
}

static int64_t excess(int64_t x, int32_t bits)
{
    int64_t limit = (int64_t)1 << (bits - 1);
    return x < 0 ? -limit - x : x - (limit - 1);
}

/* Check numbers, with a bias or none, as the `variable`-th; return the next variable. */
static int64_t check(
    place at, const population *p, int64_t variable, const int32_t *values, const int32_t *bias)
{
    int32_t low = 0, high = 0;
    for (int32_t i = 0; i < p->size; i++) {
        int32_t x = bias ? values[i] + bias[i] : values[i];
        low = x < low ? x : low;
        high = x > high ? x : high;
    }
    note(at, variable, excess(low, p->widths[variable]));
    note(at, variable, excess(high, p->widths[variable]));
    return variable + 1;
}

static int64_t check_product(
    place at, const population *p, int64_t variable, const int32_t *a, const int32_t *b, const int32_t *bias_a,
    const int32_t *bias_b)
{
    for (int32_t i = 0; i < p->size; i++) {
        int64_t first = (a[i] + (bias_a ? bias_a[i] : 0)) >> p->operand_shift[0];
        int64_t x = first * ((b[i] + (bias_b ? bias_b[i] : 0)) >> p->operand_shift[1]);
        note(at, variable, excess(x, p->widths[variable]));
    }
    return variable + 1;
}

void check_leaky(const population *p, const int32_t *state, const int32_t *arriving, int64_t time, place at)
{
    int32_t size = padded(p->size), half = 1 << 23;
    int reset = p->reset_interval && (time + 1 - p->reset_offset) % p->reset_interval == 0;
    for (int32_t i = 0; i < p->size; i++) {
        int32_t u = reset ? 0 : state[i], v = reset ? 0 : state[size + i];
        int32_t mantissa = p->parameter[2][i] + (p->takes ? state[2 * size + i] : 0);
        int32_t current = decayed(u, p->parameter[0][i]) + (arriving[i] << 6);
        int32_t wrapped = current > half ? current - 2 * half : current <= -half ? current + 2 * half : current;
        int32_t driven = wrapped + (mantissa << p->parameter[3][i]);
        int32_t numbers[] = {arriving[i], mantissa, current, driven, decayed(v, p->parameter[1][i]) + driven};
        for (int64_t variable = 0; variable < 5; variable++)
            note(at, variable, excess(numbers[variable], p->widths[variable]));
    }
}

static int64_t check_graded(place at, const population *p, const int32_t *state, const int32_t *arriving)
{
    int32_t size = padded(p->size);
    const int32_t *const *bias = p->parameter + 1;
    int64_t next = 0;
    for (int port = 0; port < p->ports; port++) {
        next = check(at, p, next, arriving + port * size, NULL);
        next = check(at, p, next, state + port * size, NULL);
    }
    for (int port = 0; port < p->ports; port++)
        next = check(at, p, next, state + port * size, bias[port]);
    return p->kind == PRODUCT ? check_product(at, p, next, state, state + size, bias[0], bias[1]) : next;
}

void check_population(
    const population *p, const int32_t *state, const int32_t *arriving, const int32_t *y, const int32_t *messages,
    place at)
{
    int32_t size = padded(p->size);
    int64_t next = 0;
    switch (p->kind) {
    case LIF:
        return;
    case SIGMA:
        next = check(at, p, next, arriving, NULL);
        next = check(at, p, next, state, NULL);
        break;
    case DELTA:
    case LAVA_SIGMA_DELTA:
        next = check(at, p, next, arriving, NULL);
        if (p->kind == LAVA_SIGMA_DELTA) {
            next = check(at, p, next, state, NULL);
            state += size;
        }
        next = check(at, p, next, state, NULL);
        next = check(at, p, next, state + size, NULL);
        break;
    case PROD_NEURON:
        next = check(at, p, next, arriving, NULL);
        next = check(at, p, next, arriving + size, NULL);
        next = check_product(at, p, next, arriving, arriving + size, NULL, NULL);
        break;
    default:
        next = check_graded(at, p, state, arriving);
        next = check(at, p, next, y, NULL);
    }
    check(at, p, next, messages, NULL);
}
