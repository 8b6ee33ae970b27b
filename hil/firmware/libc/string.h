/* The functions of <string.h> that this project or a compiler calls; bare metal has no C library. */
#ifndef NMBRL_STRING_H
#define NMBRL_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t length);
void *memmove(void *to, const void *from, size_t length);
void *memset(void *to, int byte, size_t length);
int memcmp(const void *a, const void *b, size_t length);
size_t strlen(const char *text);

#endif
