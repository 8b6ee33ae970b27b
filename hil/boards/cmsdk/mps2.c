/* What the Arm MPS2 boards with CMSDK peripherals share: clock, UART and timer; a board adds its name. */
#include "hal.h"
#include "port.h"
#include "timer.h"

#define UART0 0x40004000u
#define UART0_RX_INTERRUPT 0u
#define TIMER0 0x40000000u

const uint32_t nmbrl_hal_tick_hz = 25000000u;

__attribute__((section(".vectors.interrupts"), used)) void (*const nmbrl_interrupts[])(void) = {
    [UART0_RX_INTERRUPT] = nmbrl_port_interrupt,
};

void nmbrl_hal_init(void) {
    nmbrl_timer_init(TIMER0);
    nmbrl_port_init(UART0, 217u, UART0_RX_INTERRUPT); /* 115200 baud */
}

size_t nmbrl_hal_read(uint8_t *data, size_t size) {
    return nmbrl_port_read(data, size);
}

void nmbrl_hal_write(const uint8_t *data, size_t length) {
    nmbrl_port_write(data, length);
}

uint32_t nmbrl_hal_ticks(void) {
    return nmbrl_timer_ticks(TIMER0);
}

void nmbrl_hal_reset(void) {
    nmbrl_core_reset();
}
