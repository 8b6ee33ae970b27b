/* Arm MPS3 board, FPGA image AN547 (Arm DAI 0547): Cortex-M55 in an SSE-300 subsystem, 32 MHz. */
#include "core.h"
#include "hal.h"
#include "port.h"

#define UART0 0x59303000u
#define UART0_RX_INTERRUPT 33u
/* SSE-300 system counter (Arm 101773, "System counter"): its control frame switches it on, its read frame is the count. */
#define COUNTER_CONTROL 0x58100000u
#define COUNTER_READ 0x48000000u

const char nmbrl_hal_name[] = "mps3-an547";
const uint32_t nmbrl_hal_tick_hz = 32000000u;

__attribute__((section(".vectors.interrupts"), used)) void (*const nmbrl_interrupts[])(void) = {
    [UART0_RX_INTERRUPT] = nmbrl_port_interrupt,
};

void nmbrl_hal_init(void) {
    NMBRL_REGISTER(COUNTER_CONTROL) = 1u;
    nmbrl_port_init(UART0, 278u, UART0_RX_INTERRUPT); /* 115200 baud */
}

size_t nmbrl_hal_read(uint8_t *data, size_t size) {
    return nmbrl_port_read(data, size);
}

void nmbrl_hal_write(const uint8_t *data, size_t length) {
    nmbrl_port_write(data, length);
}

uint32_t nmbrl_hal_ticks(void) {
    return NMBRL_REGISTER(COUNTER_READ);
}

void nmbrl_hal_reset(void) {
    nmbrl_core_reset();
}
