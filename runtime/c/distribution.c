#include "nmbrl_random.h"
#include "nmbrl_real.h"
#include "nmbrl_search.h"

/* Words of random numbers for one plan, four at a time. */
typedef struct {
    const nmbrl_planner *planner;
    uint32_t counter[4]; /* block, sample, purpose, decision */
    uint32_t words[4];
    uint32_t used;
} stream;

static stream open_stream(const nmbrl_planner *p, uint32_t purpose, uint32_t sample) {
    const stream s = {p, {0, sample, purpose, p->decisions}, {0, 0, 0, 0}, 4};
    return s;
}

static uint32_t next_word(stream *s) {
    if (s->used == 4) {
        nmbrl_philox(s->planner->seed, s->counter, s->words);
        ++s->counter[0];
        s->used = 0;
    }
    return s->words[s->used++];
}

#if NMBRL_DISCRETE

/* mean holds probabilities; half of them stays spread over all actions. */
void nmbrl_centre(nmbrl_planner *p, size_t i) {
    for (size_t t = 0; t < p->options.horizon; ++t) {
        for (size_t j = 0; j < NMBRL_ACTION_SIZE; ++j) {
            p->mean[t][j] = 0.5f * p->plans[i][t][j] + 0.5f / (float)NMBRL_ACTION_SIZE;
        }
    }
}

void nmbrl_fit(nmbrl_planner *p) {
    const float floor = p->options.std_floor, spread = floor / (float)NMBRL_ACTION_SIZE;
    for (size_t t = 0; t < p->options.horizon; ++t) {
        for (size_t j = 0; j < NMBRL_ACTION_SIZE; ++j) {
            float frequency = 0.0f;
            for (size_t i = 0; i < p->options.elites; ++i) frequency += p->weights[i] * p->elites[i][t][j];
            p->mean[t][j] = (1.0f - floor) * frequency + spread;
        }
    }
}

static void one_hot(float *action) { nmbrl_project_action(action); }

/* The largest of logarithms of probabilities plus Gumbel noise is a sample (Maddison et al., 2014). */
void nmbrl_draw(nmbrl_planner *p, uint32_t purpose, uint32_t sample, nmbrl_plan_row *plan) {
    stream s = open_stream(p, purpose, sample);
    for (size_t t = 0; t < p->options.horizon; ++t) {
        for (size_t j = 0; j < NMBRL_ACTION_SIZE; ++j) {
            /* Below this probability an action is never drawn. */
            const float probability = p->mean[t][j] > 0x1.0p-100f ? p->mean[t][j] : 0x1.0p-100f;
            plan[t][j] = nmbrl_log(probability) + nmbrl_gumbel(next_word(&s));
        }
        one_hot(plan[t]);
    }
}

void nmbrl_draw_policy_noise(nmbrl_planner *p, uint32_t sample, nmbrl_plan_row *plan) {
    stream s = open_stream(p, NMBRL_POLICY_NOISE, sample);
    for (size_t t = 0; t < p->options.horizon; ++t) {
        for (size_t j = 0; j < NMBRL_ACTION_SIZE; ++j) plan[t][j] = nmbrl_gumbel(next_word(&s));
    }
}

void nmbrl_mode(const nmbrl_planner *p, nmbrl_plan_row *plan) {
    for (size_t t = 0; t < p->options.horizon; ++t) {
        for (size_t j = 0; j < NMBRL_ACTION_SIZE; ++j) plan[t][j] = p->mean[t][j];
        one_hot(plan[t]);
    }
}

#else

void nmbrl_centre(nmbrl_planner *p, size_t i) {
    for (size_t t = 0; t < p->options.horizon; ++t) {
        for (size_t j = 0; j < NMBRL_ACTION_SIZE; ++j) {
            p->mean[t][j] = p->plans[i][t][j];
            p->std[t][j] = p->options.std_start;
        }
    }
}

void nmbrl_fit(nmbrl_planner *p) {
    for (size_t t = 0; t < p->options.horizon; ++t) {
        for (size_t j = 0; j < NMBRL_ACTION_SIZE; ++j) {
            float mean = 0.0f, variance = 0.0f;
            for (size_t i = 0; i < p->options.elites; ++i) mean += p->weights[i] * p->elites[i][t][j];
            for (size_t i = 0; i < p->options.elites; ++i) {
                const float distance = p->elites[i][t][j] - mean;
                variance += p->weights[i] * (distance * distance);
            }
            const float std = nmbrl_sqrt(variance);
            p->mean[t][j] = mean;
            p->std[t][j] = std > p->options.std_floor ? std : p->options.std_floor;
        }
    }
}

/* Normal noise, correlated between successive decisions (first-order autoregressive), of variance 1. */
static void draw_normal(const nmbrl_planner *p, uint32_t purpose, uint32_t sample, nmbrl_plan_row *plan) {
    stream s = open_stream(p, purpose, sample);
    const float correlation = p->options.correlation, fresh = p->fresh;
    for (size_t t = 0; t < p->options.horizon; ++t) {
        for (size_t j = 0; j < NMBRL_ACTION_SIZE; ++j) {
            const float noise = nmbrl_normal(next_word(&s));
            plan[t][j] = t ? noise * fresh + correlation * plan[t - 1][j] : noise;
        }
    }
}

void nmbrl_draw(nmbrl_planner *p, uint32_t purpose, uint32_t sample, nmbrl_plan_row *plan) {
    draw_normal(p, purpose, sample, plan);
    for (size_t t = 0; t < p->options.horizon; ++t) {
        for (size_t j = 0; j < NMBRL_ACTION_SIZE; ++j) plan[t][j] = p->mean[t][j] + p->std[t][j] * plan[t][j];
        nmbrl_project_action(plan[t]);
    }
}

void nmbrl_draw_policy_noise(nmbrl_planner *p, uint32_t sample, nmbrl_plan_row *plan) {
    draw_normal(p, NMBRL_POLICY_NOISE, sample, plan);
    for (size_t t = 0; t < p->options.horizon; ++t) {
        for (size_t j = 0; j < NMBRL_ACTION_SIZE; ++j) plan[t][j] = p->options.std_start * plan[t][j];
    }
}

void nmbrl_mode(const nmbrl_planner *p, nmbrl_plan_row *plan) {
    for (size_t t = 0; t < p->options.horizon; ++t) {
        for (size_t j = 0; j < NMBRL_ACTION_SIZE; ++j) plan[t][j] = p->mean[t][j];
    }
}

#endif

/* The largest of equally distributed numbers is a uniformly drawn action where actions are discrete. */
void nmbrl_draw_uniform(nmbrl_planner *p, uint32_t sample, nmbrl_plan_row *plan) {
    stream s = open_stream(p, NMBRL_DRAWS, sample);
    for (size_t t = 0; t < p->options.horizon; ++t) {
        for (size_t j = 0; j < NMBRL_ACTION_SIZE; ++j) plan[t][j] = nmbrl_uniform(next_word(&s));
        nmbrl_project_action(plan[t]);
    }
}
