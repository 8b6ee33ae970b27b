/* The messages that run the model. An episode's observations are numbered from 0: one that was folded in already is not
 * folded in again, so that the host may repeat any request whose answer it missed. */
#include "controller.h"

#include "frame.h"
#include "hal.h"
#include "nmbrl.h"

#define PLAN_BYTES (sizeof(nmbrl_plan_row) * NMBRL_MAX_HORIZON)

static nmbrl_planner planner;
static int configured; /* whether the planner was set since start-up */
static uint32_t episode;                 /* 0: none */
static uint32_t step;                    /* observations folded in since its beginning */
static uint8_t planned;                  /* whether `decided` is the decision of this step */
static float decided[NMBRL_ACTION_SIZE];
static uint32_t observe_ticks, plan_ticks; /* of the last of each */

static struct {
    uint32_t observations, decisions;
    uint64_t observe_ticks, plan_ticks;
    uint32_t longest_observe, longest_plan;
} totals;

/* The longest bodies that a model makes, checked here so that no writer needs to. */
typedef char observation_fits[8 + 4 * (NMBRL_ACTION_SIZE + NMBRL_OBSERVATION_SIZE) <= NMBRL_MAX_BODY ? 1 : -1];
typedef char checkpoint_fits[26 + 4 * NMBRL_ACTION_SIZE + NMBRL_STATE_SIZE + PLAN_BYTES <= NMBRL_MAX_BODY ? 1 : -1];
typedef char call_fits[4 + NMBRL_STATE_SIZE + NMBRL_ACTION_SIZE + NMBRL_OBSERVATION_SIZE <= NMBRL_MAX_BODY ? 1 : -1];

static int finite(const float *values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        /* Infinities and NaN are not equal to themselves after this. */
        if (!(values[i] - values[i] == 0.0f)) {
            return 0;
        }
    }
    return 1;
}

void nmbrl_controller_identify(nmbrl_writer *reply) {
    nmbrl_put_u16(reply, NMBRL_STATE_SIZE);
    nmbrl_put_u16(reply, NMBRL_ACTION_SIZE);
    nmbrl_put_u16(reply, NMBRL_OBSERVATION_SIZE);
    nmbrl_put_u8(reply, NMBRL_DISCRETE);
    nmbrl_put_u8(reply, NMBRL_TERMINATES);
    nmbrl_put_u16(reply, NMBRL_MAX_SAMPLES);
    nmbrl_put_u16(reply, NMBRL_MAX_HORIZON);
    nmbrl_put_u16(reply, NMBRL_MAX_ELITES);
    nmbrl_put(reply, NMBRL_MODEL_HASH, 64);
}

void nmbrl_controller_statistics(nmbrl_writer *reply) {
    nmbrl_put_u32(reply, totals.observations);
    nmbrl_put_u32(reply, totals.decisions);
    nmbrl_put_u64(reply, totals.observe_ticks);
    nmbrl_put_u64(reply, totals.plan_ticks);
    nmbrl_put_u32(reply, totals.longest_observe);
    nmbrl_put_u32(reply, totals.longest_plan);
}

static void put_position(nmbrl_writer *reply) {
    nmbrl_put_u32(reply, episode);
    nmbrl_put_u32(reply, step);
}

static nmbrl_refusal out_of_step(nmbrl_writer *reply) {
    put_position(reply);
    return NMBRL_OUT_OF_STEP;
}

static nmbrl_refusal reset(nmbrl_reader *request, nmbrl_writer *reply) {
    uint32_t number = nmbrl_get_u32(request);
    uint64_t seed = nmbrl_get_u64(request);
    if (!nmbrl_at_end(request)) {
        return NMBRL_BAD_LENGTH;
    }
    if (number == 0) {
        return NMBRL_BAD_VALUE;
    }
    /* A board that restarted would go on with another planner than the host asked for. */
    if (!configured) {
        return NMBRL_NO_PLANNER;
    }
    nmbrl_reset(&planner, seed);
    episode = number;
    step = 0;
    planned = 0;
    put_position(reply);
    return NMBRL_ACCEPTED;
}

static void fold_in(const float *action, const float *observation) {
    uint32_t start = nmbrl_hal_ticks();
    nmbrl_update(&planner, action, observation);
    observe_ticks = nmbrl_hal_ticks() - start;
    totals.observations++;
    totals.observe_ticks += observe_ticks;
    totals.longest_observe = observe_ticks > totals.longest_observe ? observe_ticks : totals.longest_observe;
    step++;
    planned = 0;
}

static void decide(nmbrl_writer *reply) {
    if (!planned) {
        uint32_t start = nmbrl_hal_ticks();
        nmbrl_plan(&planner, decided);
        plan_ticks = nmbrl_hal_ticks() - start;
        totals.decisions++;
        totals.plan_ticks += plan_ticks;
        totals.longest_plan = plan_ticks > totals.longest_plan ? plan_ticks : totals.longest_plan;
        planned = 1;
    }
    put_position(reply);
    nmbrl_put_u32(reply, observe_ticks);
    nmbrl_put_u32(reply, plan_ticks);
    nmbrl_put(reply, decided, sizeof decided);
}

static nmbrl_refusal observe(nmbrl_reader *request, nmbrl_writer *reply, int and_decide) {
    float action[NMBRL_ACTION_SIZE], observation[NMBRL_OBSERVATION_SIZE];
    uint32_t number = nmbrl_get_u32(request);
    uint32_t index = nmbrl_get_u32(request);
    nmbrl_get(request, action, sizeof action);
    nmbrl_get(request, observation, sizeof observation);
    if (!nmbrl_at_end(request)) {
        return NMBRL_BAD_LENGTH;
    }
    if (!finite(action, NMBRL_ACTION_SIZE) || !finite(observation, NMBRL_OBSERVATION_SIZE)) {
        return NMBRL_BAD_VALUE;
    }
    int repeated = step > 0 && index == step - 1;
    if (number == 0 || number != episode || (index != step && !repeated)) {
        return out_of_step(reply);
    }
    if (!repeated) {
        fold_in(action, observation);
    }
    if (and_decide) {
        decide(reply);
    } else {
        put_position(reply);
    }
    return NMBRL_ACCEPTED;
}

static nmbrl_refusal plan(nmbrl_reader *request, nmbrl_writer *reply) {
    uint32_t number = nmbrl_get_u32(request);
    uint32_t index = nmbrl_get_u32(request);
    if (!nmbrl_at_end(request)) {
        return NMBRL_BAD_LENGTH;
    }
    if (number == 0 || number != episode || step == 0 || index != step) {
        return out_of_step(reply);
    }
    decide(reply);
    return NMBRL_ACCEPTED;
}

static nmbrl_refusal read_state(nmbrl_reader *request, nmbrl_writer *reply) {
    if (!nmbrl_at_end(request)) {
        return NMBRL_BAD_LENGTH;
    }
    put_position(reply);
    nmbrl_put_u64(reply, planner.seed);
    nmbrl_put_u32(reply, planner.decisions);
    nmbrl_put_u32(reply, planner.fallbacks);
    nmbrl_put_u8(reply, planned);
    nmbrl_put_u8(reply, planner.warm != 0);
    nmbrl_put(reply, decided, sizeof decided);
    nmbrl_put(reply, planner.state, sizeof planner.state);
    nmbrl_put(reply, planner.last_plan, PLAN_BYTES);
    return NMBRL_ACCEPTED;
}

static nmbrl_refusal write_state(nmbrl_reader *request, nmbrl_writer *reply) {
    static float action[NMBRL_ACTION_SIZE], last_plan[NMBRL_MAX_HORIZON * NMBRL_ACTION_SIZE];
    int8_t state[NMBRL_STATE_SIZE];
    uint32_t number = nmbrl_get_u32(request);
    uint32_t index = nmbrl_get_u32(request);
    uint64_t seed = nmbrl_get_u64(request);
    uint32_t decisions = nmbrl_get_u32(request);
    uint32_t fallbacks = nmbrl_get_u32(request);
    uint8_t has_decision = nmbrl_get_u8(request);
    uint8_t warm = nmbrl_get_u8(request);
    nmbrl_get(request, action, sizeof action);
    nmbrl_get(request, state, sizeof state);
    nmbrl_get(request, last_plan, sizeof last_plan);
    if (!nmbrl_at_end(request)) {
        return NMBRL_BAD_LENGTH;
    }
    if (has_decision > 1 || warm > 1 || !finite(action, NMBRL_ACTION_SIZE) ||
        !finite(last_plan, NMBRL_MAX_HORIZON * NMBRL_ACTION_SIZE)) {
        return NMBRL_BAD_VALUE;
    }
    if (!configured) {
        return NMBRL_NO_PLANNER;
    }
    nmbrl_reset(&planner, seed);
    planner.decisions = decisions;
    planner.fallbacks = fallbacks;
    planner.warm = warm;
    memcpy(planner.state, state, sizeof state);
    memcpy(planner.last_plan, last_plan, PLAN_BYTES);
    memcpy(decided, action, sizeof decided);
    episode = number;
    step = index;
    planned = has_decision;
    put_position(reply);
    return NMBRL_ACCEPTED;
}

static nmbrl_refusal set_planner(nmbrl_reader *request) {
    nmbrl_options options;
    uint8_t method = nmbrl_get_u8(request);
    options.samples = nmbrl_get_u16(request);
    options.horizon = nmbrl_get_u16(request);
    options.iterations = nmbrl_get_u16(request);
    options.elites = nmbrl_get_u16(request);
    options.policy_samples = nmbrl_get_u16(request);
    options.temperature = nmbrl_get_f32(request);
    options.std_start = nmbrl_get_f32(request);
    options.std_floor = nmbrl_get_f32(request);
    options.correlation = nmbrl_get_f32(request);
    options.margin = nmbrl_get_f32(request);
    if (!nmbrl_at_end(request)) {
        return NMBRL_BAD_LENGTH;
    }
    /* An enumeration with a value that it does not have is undefined. */
    if (method > NMBRL_MPPI || nmbrl_configure(&planner, (nmbrl_method)method, &options) != NMBRL_OK) {
        return NMBRL_BAD_VALUE;
    }
    configured = 1;
    return NMBRL_ACCEPTED;
}

/* The model's functions by themselves, on int8 rows: the host compares them with other targets. */
static nmbrl_refusal call(nmbrl_reader *request, nmbrl_writer *reply) {
    uint8_t function = nmbrl_get_u8(request);
    size_t rows = nmbrl_get_u8(request);
    const size_t inputs[] = {NMBRL_STATE_SIZE + NMBRL_ACTION_SIZE + NMBRL_OBSERVATION_SIZE,
                             NMBRL_STATE_SIZE + NMBRL_ACTION_SIZE, NMBRL_STATE_SIZE, NMBRL_STATE_SIZE};
    const size_t outputs[] = {NMBRL_STATE_SIZE, NMBRL_STATE_SIZE + 1 + NMBRL_TERMINATES, NMBRL_ACTION_SIZE, 1};
    if (request->ran_off) {
        return NMBRL_BAD_LENGTH;
    }
    if (function >= sizeof inputs / sizeof inputs[0] || rows == 0 || 4 + rows * outputs[function] > NMBRL_MAX_BODY) {
        return NMBRL_BAD_VALUE;
    }
    if (request->length - request->position != rows * inputs[function]) {
        return NMBRL_BAD_LENGTH;
    }
    const int8_t *state = (const int8_t *)(request->data + request->position);
    const int8_t *action = state + rows * NMBRL_STATE_SIZE;
    const int8_t *observation = action + rows * NMBRL_ACTION_SIZE;
    int8_t *out = (int8_t *)(reply->data + 4);
    uint32_t start = nmbrl_hal_ticks();
    switch (function) {
    case 0:
        nmbrl_observe(state, action, observation, out, rows);
        break;
    case 1: {
        int8_t *reward = out + rows * NMBRL_STATE_SIZE;
        nmbrl_imagine(state, action, out, reward, reward + rows, rows);
        break;
    }
    case 2:
        nmbrl_act(state, out, rows);
        break;
    default:
        nmbrl_value(state, out, rows);
    }
    nmbrl_put_u32(reply, nmbrl_hal_ticks() - start);
    reply->length += rows * outputs[function];
    return NMBRL_ACCEPTED;
}

nmbrl_refusal nmbrl_controller_handle(uint8_t kind, nmbrl_reader *request, nmbrl_writer *reply) {
    switch (kind) {
    case NMBRL_RESET:
        return reset(request, reply);
    case NMBRL_OBSERVE:
        return observe(request, reply, 0);
    case NMBRL_DECIDE:
        return observe(request, reply, 1);
    case NMBRL_PLAN:
        return plan(request, reply);
    case NMBRL_READ_STATE:
        return read_state(request, reply);
    case NMBRL_WRITE_STATE:
        return write_state(request, reply);
    case NMBRL_SET_PLANNER:
        return set_planner(request);
    case NMBRL_CALL:
        return call(request, reply);
    default:
        return NMBRL_UNKNOWN_KIND;
    }
}
