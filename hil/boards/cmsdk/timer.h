/* Arm CMSDK APB timer (Arm DDI 0479, 4.4) as a tick counter. */
#ifndef NMBRL_CMSDK_TIMER_H
#define NMBRL_CMSDK_TIMER_H

#include <stdint.h>

#include "core.h"

static inline void nmbrl_timer_init(uint32_t base) {
    NMBRL_REGISTER(base + 8u) = 0xFFFFFFFFu; /* RELOAD */
    NMBRL_REGISTER(base + 4u) = 0xFFFFFFFFu; /* VALUE */
    NMBRL_REGISTER(base) = 1u;               /* CTRL: enable */
}

/* It counts down. */
static inline uint32_t nmbrl_timer_ticks(uint32_t base) {
    return ~NMBRL_REGISTER(base + 4u);
}

#endif
