/* Built with -fno-builtin: else a compiler may turn these loops into calls of the functions that they define. */
#include <string.h>

#include <stdint.h>

#define WORD sizeof(uint32_t)

typedef uint32_t __attribute__((may_alias)) word;

static int aligned(const void *a, const void *b) {
    return (((uintptr_t)a | (uintptr_t)b) & (WORD - 1)) == 0;
}

void *memcpy(void *restrict to, const void *restrict from, size_t length) {
    unsigned char *out = to;
    const unsigned char *in = from;
    if (aligned(to, from)) {
        for (; length >= 4 * WORD; length -= 4 * WORD, out += 4 * WORD, in += 4 * WORD) {
            word *const a = (word *)(void *)out;
            const word *const b = (const word *)(const void *)in;
            a[0] = b[0];
            a[1] = b[1];
            a[2] = b[2];
            a[3] = b[3];
        }
        for (; length >= WORD; length -= WORD, out += WORD, in += WORD) {
            *(word *)(void *)out = *(const word *)(const void *)in;
        }
    }
    while (length-- > 0) {
        *out++ = *in++;
    }
    return to;
}

void *memmove(void *to, const void *from, size_t length) {
    unsigned char *out = to;
    const unsigned char *in = from;
    if ((uintptr_t)out - (uintptr_t)in >= length) {
        return memcpy(to, from, length);
    }
    while (length-- > 0) {
        out[length] = in[length];
    }
    return to;
}

void *memset(void *to, int byte, size_t length) {
    unsigned char *out = to;
    while (length-- > 0) {
        *out++ = (unsigned char)byte;
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t length) {
    const unsigned char *left = a, *right = b;
    for (; length > 0; length--, left++, right++) {
        if (*left != *right) {
            return *left - *right;
        }
    }
    return 0;
}

size_t strlen(const char *text) {
    size_t length = 0;
    while (text[length] != 0) {
        length++;
    }
    return length;
}
