#include <string.h>

#include "nmbrl.h"

/* Rounds half away from zero, adds the zero point, saturates; x is finite and no NaN. */
static int8_t quantise(float x, float scale, int zero) {
    const float steps = x / scale;
    if (steps >= 512.0f) return 127;
    if (steps <= -512.0f) return -128;
    int32_t q = (int32_t)steps;
    const float rest = steps - (float)q;
    q += (rest >= 0.5f) - (rest <= -0.5f) + zero;
    return (int8_t)(q < -128 ? -128 : q > 127 ? 127 : q);
}

/* In TensorFlow Lite a double product, rounded once; 8 times 24 bits fit into a double, so one rounding it is here. */
static float dequantise(int8_t q, float scale, int zero) { return (float)(q - zero) * scale; }

void nmbrl_initial_state(int8_t *state) { memcpy(state, nmbrl_zero_state, NMBRL_STATE_SIZE); }

void nmbrl_quantise_observation(const float *observation, int8_t *out) {
    for (size_t i = 0; i < NMBRL_OBSERVATION_SIZE; ++i) {
        const float x = (observation[i] - nmbrl_mean[i]) / nmbrl_deviation[i];
        const float clipped = x > NMBRL_CLIP ? NMBRL_CLIP : x > -NMBRL_CLIP ? x : -NMBRL_CLIP;
        out[i] = quantise(clipped, NMBRL_OBSERVATION_SCALE, NMBRL_OBSERVATION_ZERO);
    }
}

void nmbrl_quantise_action(const float *action, int8_t *out) {
    for (size_t i = 0; i < NMBRL_ACTION_SIZE; ++i) out[i] = quantise(action[i], NMBRL_ACTION_SCALE, NMBRL_ACTION_ZERO);
}

void nmbrl_dequantise_action(const int8_t *action, float *out) {
    for (size_t i = 0; i < NMBRL_ACTION_SIZE; ++i) out[i] = dequantise(action[i], NMBRL_POLICY_SCALE, NMBRL_POLICY_ZERO);
}

float nmbrl_dequantise_reward(int8_t reward) { return dequantise(reward, NMBRL_REWARD_SCALE, NMBRL_REWARD_ZERO); }

float nmbrl_dequantise_value(int8_t value) { return dequantise(value, NMBRL_VALUE_SCALE, NMBRL_VALUE_ZERO); }

float nmbrl_dequantise_alive(int8_t alive) {
#if NMBRL_TERMINATES
    return dequantise(alive, NMBRL_ALIVE_SCALE, NMBRL_ALIVE_ZERO);
#else
    (void)alive;
    return 1.0f;
#endif
}

void nmbrl_project_action(float *action) {
#if NMBRL_DISCRETE
    size_t best = 0;
    for (size_t i = 1; i < NMBRL_ACTION_SIZE; ++i) best = action[i] > action[best] ? i : best;
    for (size_t i = 0; i < NMBRL_ACTION_SIZE; ++i) action[i] = i == best ? 1.0f : 0.0f;
#else
    for (size_t i = 0; i < NMBRL_ACTION_SIZE; ++i) {
        action[i] = action[i] > 1.0f ? 1.0f : action[i] > -1.0f ? action[i] : -1.0f;
    }
#endif
}
