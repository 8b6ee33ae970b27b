#include "hal.h"
#include "loop.h"

int main(void) {
    nmbrl_hal_init();
    nmbrl_loop_start();
    for (;;) {
        uint8_t received[64];
        size_t length = nmbrl_hal_read(received, sizeof received);
        for (size_t i = 0; i < length; i++) {
            nmbrl_loop_byte(received[i]);
        }
    }
}
