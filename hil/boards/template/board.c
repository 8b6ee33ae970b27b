/* A new board begins as a copy of this folder (docs/add-a-board.md). As it stands it drives an Arm MPS2 with image AN385
 * (Cortex-M3), without any of the shared drivers, so that everything a board needs is in one file.
 */
#include "core.h"
#include "hal.h"

/* 1. Where the serial port and a counter are, and how fast they run: from the chip's reference manual. */
#define CLOCK_HZ 25000000u
#define BAUD 115200u
#define UART 0x40004000u
#define UART_DATA NMBRL_REGISTER(UART + 0x00u)
#define UART_STATE NMBRL_REGISTER(UART + 0x04u) /* bit 0: cannot send yet; bit 1: a byte has come */
#define UART_CTRL NMBRL_REGISTER(UART + 0x08u)  /* bits 0, 1, 3: send, receive, interrupt when a byte comes */
#define UART_INTCLEAR NMBRL_REGISTER(UART + 0x0Cu)
#define UART_BAUDDIV NMBRL_REGISTER(UART + 0x10u)
#define UART_INTERRUPT 0u
#define COUNTER 0x40000000u
#define COUNTER_CTRL NMBRL_REGISTER(COUNTER + 0x00u)
#define COUNTER_VALUE NMBRL_REGISTER(COUNTER + 0x04u) /* counts down */
#define COUNTER_RELOAD NMBRL_REGISTER(COUNTER + 0x08u)

/* 2. What the board calls itself, and its ticks a second. */
const char nmbrl_hal_name[] = "template";
const uint32_t nmbrl_hal_tick_hz = CLOCK_HZ;

/* 3. Received bytes wait in a ring, because a frame may come while the board is planning. */
#define RING 4096u
static uint8_t ring[RING];
static volatile uint32_t written, taken;

static void receive(void) {
    UART_INTCLEAR = 2u;
    while (UART_STATE & 2u) {
        uint8_t byte = (uint8_t)UART_DATA;
        if (written - taken < RING) {
            ring[written % RING] = byte;
            written = written + 1u;
        }
    }
}

/* 4. The interrupts, by their number on this chip, right behind the core's own vectors. */
__attribute__((section(".vectors.interrupts"), used)) void (*const nmbrl_interrupts[])(void) = {
    [UART_INTERRUPT] = receive,
};

/* 5. The five functions of the HAL. */
void nmbrl_hal_init(void) {
    COUNTER_RELOAD = 0xFFFFFFFFu;
    COUNTER_VALUE = 0xFFFFFFFFu;
    COUNTER_CTRL = 1u;
    UART_BAUDDIV = CLOCK_HZ / BAUD;
    UART_CTRL = 1u | 2u | 8u;
    nmbrl_core_enable_interrupt(UART_INTERRUPT);
    nmbrl_core_unmask_interrupts();
}

size_t nmbrl_hal_read(uint8_t *data, size_t size) {
    /* Masked, so that no byte comes between looking and falling asleep; a pending interrupt wakes all the same. */
    nmbrl_core_mask_interrupts();
    while (written == taken) {
        nmbrl_core_sleep();
        nmbrl_core_unmask_interrupts();
        nmbrl_core_mask_interrupts();
    }
    nmbrl_core_unmask_interrupts();
    size_t length = 0;
    while (length < size && written != taken) {
        data[length++] = ring[taken % RING];
        taken = taken + 1u;
    }
    return length;
}

void nmbrl_hal_write(const uint8_t *data, size_t length) {
    for (size_t i = 0; i < length; i++) {
        while (UART_STATE & 1u) {
        }
        UART_DATA = data[i];
    }
}

uint32_t nmbrl_hal_ticks(void) {
    return ~COUNTER_VALUE;
}

void nmbrl_hal_reset(void) {
    nmbrl_core_reset();
}
