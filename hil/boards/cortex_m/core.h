/* What every Cortex-M has: interrupts (NVIC) and a reset of its own (ARMv7-M ARM, B3). */
#ifndef NMBRL_CORE_H
#define NMBRL_CORE_H

#include <stdint.h>

#define NMBRL_REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

static inline void nmbrl_core_enable_interrupt(unsigned number) {
    NMBRL_REGISTER(0xE000E100u + 4u * (number / 32u)) = 1u << number % 32u;
}

/* AIRCR.SYSRESETREQ with its key. */
static inline void nmbrl_core_reset(void) {
    __asm volatile("dsb" ::: "memory");
    NMBRL_REGISTER(0xE000ED0Cu) = 0x05FA0004u;
    for (;;) {
    }
}

/* Sleeps until an interrupt is pending; with interrupts masked it is taken only after they are unmasked. */
static inline void nmbrl_core_sleep(void) {
    __asm volatile("dsb\n wfi" ::: "memory");
}

static inline void nmbrl_core_mask_interrupts(void) {
    __asm volatile("cpsid i" ::: "memory");
}

static inline void nmbrl_core_unmask_interrupts(void) {
    __asm volatile("cpsie i" ::: "memory");
}

#endif
