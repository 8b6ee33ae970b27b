/* Synapses event by event, one lane at a time. */
#include "loihi.h"

#if defined(__AVX512VBMI2__) && defined(__AVX512VBMI__) && defined(__AVX512VNNI__)
#include "fours.h"

int nmbrl_loihi_has_fours(void)
{
    return 1;
}

/* Deliver to `parts` times COLUMNS targets from the `first` on. */
INLINE void deliver_columns(const wire *w, const events *e, int planes, int parts, int32_t first, int32_t *to)
{
    fours sum;
    sum_fours(w, e, planes, parts, first, sum);
    UNROLL for (int32_t i = 0; i < 4 * parts; i++) {
        int32_t *place = to + first + i * BLOCK;
        if (first + i * BLOCK >= w->targets)
            break;
        _mm512_storeu_si512(place, _mm512_add_epi32(_mm512_loadu_si512(place), finish_fours(w, planes, i, sum)));
    }
}

INLINE void deliver_rows(const wire *w, const events *e, int planes, int most, int32_t *to)
{
    int32_t t = 0;
    for (; most == 2 && t + 2 * COLUMNS <= w->targets; t += 2 * COLUMNS)
        deliver_columns(w, e, planes, 2, t, to);
    for (; t < w->targets; t += COLUMNS)
        deliver_columns(w, e, planes, 1, t, to);
}

void deliver_events(const wire *w, const events *e, int32_t *to)
{
    if (e->planes == 1)
        deliver_rows(w, e, 1, 2, to);
    else if (e->planes == 2)
        deliver_rows(w, e, 2, 2, to);
    else if (e->planes == 3)
        deliver_rows(w, e, 3, 1, to);
    else
        deliver_rows(w, e, 4, 1, to);
}

#else

int nmbrl_loihi_has_fours(void)
{
    return 0;
}

void deliver_events(const wire *w, const events *e, int32_t *to)
{
    (void)w, (void)e, (void)to;
}

#endif
