/* Start-up for every Cortex-M: vector table, floating point and vector unit on, memory as C expects it, then main. */
#include <stdint.h>

#include "hal.h"
#include "stack.h"

extern uint32_t nmbrl_stack_limit[], nmbrl_stack_top[];
extern uint32_t nmbrl_data_load[], nmbrl_data[], nmbrl_data_end[], nmbrl_bss[], nmbrl_bss_end[];

int main(void);

/* Coprocessor access (ARMv7-M ARM, B3.2.20): full access to CP10 and CP11, the FPU and MVE. */
#define CPACR (*(volatile uint32_t *)0xE000ED88u)
#define STACK_PAINT 0xA5A5A5A5u

void nmbrl_start(void) {
    CPACR |= 0xFu << 20;
    __asm volatile("dsb\n isb" ::: "memory");
    /* Volatile, so that no compiler makes a call of memset that paints over the frame it runs in. */
    volatile uint32_t *word = nmbrl_stack_limit;
    uint32_t *frame;
    __asm volatile("mov %0, sp" : "=r"(frame));
    while (word < frame) {
        *word++ = STACK_PAINT;
    }
    const uint32_t *load = nmbrl_data_load;
    for (volatile uint32_t *data = nmbrl_data; data < nmbrl_data_end; data++) {
        *data = *load++;
    }
    for (volatile uint32_t *bss = nmbrl_bss; bss < nmbrl_bss_end; bss++) {
        *bss = 0;
    }
    main();
    nmbrl_hal_reset();
}

uint32_t nmbrl_stack_used(void) {
    const volatile uint32_t *word = nmbrl_stack_limit;
    while (word < nmbrl_stack_top && *word == STACK_PAINT) {
        word++;
    }
    return (uint32_t)((uintptr_t)nmbrl_stack_top - (uintptr_t)word);
}

/* A fault ends as a reset, which the host notices and mends, instead of as a silent board. */
static void fault(void) {
    nmbrl_hal_reset();
}

typedef void (*handler)(void);

/* ARMv7-M ARM, B1.5.2; a board appends its interrupts in section .vectors.interrupts. */
__attribute__((section(".vectors.core"), used)) const handler nmbrl_vectors[16] = {
    (handler)(void *)nmbrl_stack_top, nmbrl_start, fault, fault, fault, fault, fault, fault, 0, 0, 0, fault, fault, 0,
    fault, fault,
};
