#include "nmbrl_search.h"

/* Makes each of n plans' decision t valid: what it holds plus the policy's action; stride: between the actions. */
static void follow_policy(nmbrl_planner *p, const int8_t *actions, size_t stride, size_t first, size_t n, size_t t) {
    for (size_t i = 0; i < n; ++i) {
        float *action = p->plans[first + i][t];
        nmbrl_plan_row raw;
        nmbrl_dequantise_action(actions + i * stride, raw);
        for (size_t j = 0; j < NMBRL_ACTION_SIZE; ++j) action[j] = raw[j] + action[j];
        nmbrl_project_action(action);
    }
}

void nmbrl_imagine_plans(nmbrl_planner *p, size_t first, size_t n, size_t guided, size_t completed) {
    const size_t horizon = p->options.horizon;
    float *scores = p->scores + first;
    for (size_t i = 0; i < n; ++i) {
        scores[i] = 0.0f;
        p->discounts[i] = 1.0f;
    }
    for (size_t t = 0; t < horizon; ++t) {
        /* All plans begin from one state. */
        const int8_t *states = t ? p->rows[t % 2] : p->state;
        int8_t *next = p->rows[(t + 1) % 2];
        const size_t following = t + 1 == horizon ? guided + completed : guided;
        if (following) {
            nmbrl_act(states, p->actions, t ? following : 1);
            follow_policy(p, p->actions, t ? NMBRL_ACTION_SIZE : 0, first, following, t);
        }
        for (size_t i = 0; i < n; ++i) nmbrl_quantise_action(p->plans[first + i][t], p->actions + i * NMBRL_ACTION_SIZE);
        if (t) {
            nmbrl_imagine(states, p->actions, next, p->rewards, p->alive, n);
        } else {
            nmbrl_imagine_from(states, p->actions, next, p->rewards, p->alive, n);
        }
        for (size_t i = 0; i < n; ++i) {
            scores[i] += p->discounts[i] * nmbrl_dequantise_reward(p->rewards[i]);
            p->discounts[i] *= NMBRL_DISCOUNT * nmbrl_dequantise_alive(p->alive[i]);
        }
    }
    nmbrl_value(p->rows[horizon % 2], p->rewards, n);
    for (size_t i = 0; i < n; ++i) scores[i] += p->discounts[i] * nmbrl_dequantise_value(p->rewards[i]);
}
