#include <string.h>

#include "nmbrl_real.h"
#include "nmbrl_search.h"

#define MAX_ITERATIONS 64
/* The smallest normal number: what stands for a spread of none. */
#define LEAST_SPREAD 0x1.0p-126f

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

nmbrl_options nmbrl_default_options(void) {
    const nmbrl_options options = {(uint16_t)least(64, NMBRL_MAX_SAMPLES),
                                   (uint16_t)least(8, NMBRL_MAX_HORIZON),
                                   3,
                                   (uint16_t)least(8, NMBRL_MAX_ELITES),
                                   (uint16_t)least(8, NMBRL_MAX_SAMPLES / 2),
                                   0.5f,
                                   0.5f,
                                   0.05f,
                                   0.5f,
                                   0.0f};
    return options;
}

/* Comparisons with NaN are false, so that it is refused. */
static int valid(const nmbrl_options *o) {
    const int sizes = o->samples >= 4 && o->horizon >= 1 && o->iterations >= 1 && o->iterations <= MAX_ITERATIONS &&
                      o->elites >= 1 && o->elites < o->samples && o->policy_samples >= 1 &&
                      o->policy_samples <= o->samples - 2;
    const int reals = o->temperature > 0.0f && o->temperature < 1e6f && o->std_start > 0.0f && o->std_start < 1e6f &&
                      o->std_floor >= 0.0f && o->std_floor < (NMBRL_DISCRETE ? 1.0f : 1e6f) &&
                      o->correlation >= 0.0f && o->correlation < 1.0f && o->margin >= 0.0f && o->margin < 1e6f;
    return sizes && reals;
}

nmbrl_status nmbrl_configure(nmbrl_planner *p, nmbrl_method method, const nmbrl_options *options) {
    if (method != NMBRL_POLICY && method != NMBRL_SHOOTING && method != NMBRL_CEM && method != NMBRL_MPPI) {
        return NMBRL_BAD_METHOD;
    }
    if (options->samples > NMBRL_MAX_SAMPLES || options->horizon > NMBRL_MAX_HORIZON ||
        options->elites > NMBRL_MAX_ELITES) {
        return NMBRL_TOO_LARGE;
    }
    if (!valid(options)) return NMBRL_BAD_OPTIONS;
    p->method = method;
    p->options = *options;
    p->fresh = nmbrl_sqrt(1.0f - options->correlation * options->correlation);
    p->warm = 0;
    return NMBRL_OK;
}

void nmbrl_reset(nmbrl_planner *p, uint64_t seed) {
    p->seed = seed;
    p->decisions = 0;
    p->fallbacks = 0;
    p->warm = 0;
    nmbrl_initial_state(p->state);
}

void nmbrl_update(nmbrl_planner *p, const float *action, const float *observation) {
    int8_t quantised_action[NMBRL_ACTION_SIZE], quantised_observation[NMBRL_OBSERVATION_SIZE];
    nmbrl_quantise_action(action, quantised_action);
    nmbrl_quantise_observation(observation, quantised_observation);
    nmbrl_observe(p->state, quantised_action, quantised_observation, p->rows[0], 1);
    memcpy(p->state, p->rows[0], NMBRL_STATE_SIZE);
}

/* Standard deviation of n scores. */
static float deviation(const float *scores, size_t n) {
    float mean = 0.0f, variance = 0.0f;
    for (size_t i = 0; i < n; ++i) mean += scores[i];
    mean = mean / (float)n;
    for (size_t i = 0; i < n; ++i) variance += (scores[i] - mean) * (scores[i] - mean);
    return nmbrl_sqrt(variance / (float)n);
}

/* Indices of the best of n scores, best first, the earlier of equals first. */
static void rank(nmbrl_planner *p, size_t n) {
    const size_t elites = p->options.elites;
    size_t found = 0;
    for (size_t i = 0; i < n; ++i) {
        size_t place = found;
        while (place > 0 && p->scores[i] > p->scores[p->order[place - 1]]) --place;
        if (place == elites) continue;
        if (found < elites) ++found;
        for (size_t j = found - 1; j > place; --j) p->order[j] = p->order[j - 1];
        p->order[place] = (uint16_t)i;
    }
}

/* CEM: all elites weigh the same. MPPI: exp((score - best) / (temperature * deviation of the elites' scores)). */
static void weigh(nmbrl_planner *p) {
    const size_t elites = p->options.elites;
    if (p->method == NMBRL_CEM) {
        for (size_t i = 0; i < elites; ++i) p->weights[i] = 1.0f / (float)elites;
        return;
    }
    float spread = deviation(p->elite_scores, elites), total = 0.0f;
    spread = spread > LEAST_SPREAD ? spread : LEAST_SPREAD;
    const float scale = p->options.temperature * spread;
    for (size_t i = 0; i < elites; ++i) {
        const float distance = p->elite_scores[i] - p->elite_scores[0];
        p->weights[i] = nmbrl_exp(distance / scale);
        total += p->weights[i];
    }
    for (size_t i = 0; i < elites; ++i) p->weights[i] = p->weights[i] / total;
}

/* Fits the distribution to the best of n plans, and moves them to the front. */
static void fit(nmbrl_planner *p, size_t n) {
    rank(p, n);
    for (size_t i = 0; i < p->options.elites; ++i) {
        memcpy(p->elites[i], p->plans[p->order[i]], sizeof p->elites[i]);
        p->elite_scores[i] = p->scores[p->order[i]];
    }
    memcpy(p->plans, p->elites, p->options.elites * sizeof p->elites[0]);
    memcpy(p->scores, p->elite_scores, p->options.elites * sizeof p->elite_scores[0]);
    weigh(p);
    nmbrl_fit(p);
}

/* Imagines the first samples: the policy's, the last plan shifted by a decision, and draws around the better of the
 * two that have no noise. Returns how many they are: one less where there is no last plan. */
static size_t propose(nmbrl_planner *p) {
    const size_t count = p->options.policy_samples, horizon = p->options.horizon;
    const size_t known = count + (p->warm ? 1 : 0), samples = p->options.samples;
    memset(p->plans[0], 0, sizeof p->plans[0]);
    for (size_t i = 1; i < count; ++i) nmbrl_draw_policy_noise(p, (uint32_t)i, p->plans[i]);
    if (p->warm) {
        memcpy(p->plans[count], p->last_plan + 1, (horizon - 1) * sizeof p->last_plan[0]);
        memset(p->plans[count][horizon - 1], 0, sizeof p->last_plan[0]);
    }
    nmbrl_imagine_plans(p, 0, known, count, known - count);
    nmbrl_centre(p, p->warm && p->scores[count] > p->scores[0] ? count : 0);
    /* The place of the last plan is kept for it. */
    const size_t drawn = samples - count - 1;
    for (size_t i = 0; i < drawn; ++i) nmbrl_draw(p, NMBRL_DRAWS, (uint32_t)(count + 1 + i), p->plans[known + i]);
    nmbrl_imagine_plans(p, known, drawn, 0, 0);
    return known + drawn;
}

static void search(nmbrl_planner *p) {
    const size_t samples = p->options.samples, elites = p->options.elites, horizon = p->options.horizon;
    size_t n = propose(p);
    const float policy_score = p->scores[0];
    const float spread = deviation(p->scores, p->options.policy_samples);
    memcpy(p->policy_plan, p->plans[0], sizeof p->policy_plan);
    for (uint32_t iteration = 1; iteration < p->options.iterations; ++iteration) {
        fit(p, n);
        for (size_t i = 0; i < samples; ++i) nmbrl_draw(p, NMBRL_DRAWS + iteration, (uint32_t)i, p->plans[elites + i]);
        nmbrl_imagine_plans(p, elites, samples, 0, 0);
        n = elites + samples;
    }
    fit(p, n);
    nmbrl_mode(p, p->plans[0]);
    nmbrl_imagine_plans(p, 0, 1, 0, 0);
    const int follow = p->scores[0] > policy_score + p->options.margin * spread;
    p->fallbacks += !follow;
    memcpy(p->last_plan, follow ? p->plans[0] : p->policy_plan, horizon * sizeof p->last_plan[0]);
    p->warm = 1;
}

static void shoot(nmbrl_planner *p) {
    const size_t samples = p->options.samples;
    size_t best = 0;
    for (size_t i = 0; i < samples; ++i) nmbrl_draw_uniform(p, (uint32_t)i, p->plans[i]);
    nmbrl_imagine_plans(p, 0, samples, 0, 0);
    for (size_t i = 1; i < samples; ++i) best = p->scores[i] > p->scores[best] ? i : best;
    memcpy(p->last_plan, p->plans[best], sizeof p->last_plan);
}

void nmbrl_plan(nmbrl_planner *p, float *action) {
    if (p->method == NMBRL_POLICY) {
        nmbrl_act(p->state, p->actions, 1);
        nmbrl_dequantise_action(p->actions, p->last_plan[0]);
        nmbrl_project_action(p->last_plan[0]);
    } else if (p->method == NMBRL_SHOOTING) {
        shoot(p);
    } else {
        search(p);
    }
    memcpy(action, p->last_plan[0], sizeof p->last_plan[0]);
    ++p->decisions;
}

size_t nmbrl_planner_bytes(void) { return sizeof(nmbrl_planner); }

int8_t *nmbrl_belief(nmbrl_planner *p) { return p->state; }
