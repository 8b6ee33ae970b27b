/* Messages (docs/wire-protocol.md). Numbers are little-endian; reals are IEEE 754 single precision. */
#ifndef NMBRL_MESSAGES_H
#define NMBRL_MESSAGES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define NMBRL_WIRE_VERSION 1u

/* Requests. A reply has the request's kind with the top bit set, and its sequence number. */
enum {
    NMBRL_HELLO = 0x01,
    NMBRL_PING = 0x02,
    NMBRL_RESET = 0x03,
    NMBRL_OBSERVE = 0x04,
    NMBRL_PLAN = 0x05,
    NMBRL_DECIDE = 0x06,
    NMBRL_READ_STATE = 0x07,
    NMBRL_WRITE_STATE = 0x08,
    NMBRL_STATISTICS = 0x09,
    NMBRL_SET_PLANNER = 0x0A,
    NMBRL_CALL = 0x0B,
    NMBRL_REBOOT = 0x0C
};

#define NMBRL_REPLY 0x80u
#define NMBRL_READY 0x80u /* unasked, when the board has started */
#define NMBRL_ERROR 0xFFu

/* Why a request was refused, the first byte of an error's body. */
typedef enum {
    NMBRL_ACCEPTED = 0,
    NMBRL_UNKNOWN_KIND = 1,
    NMBRL_BAD_LENGTH = 2,
    NMBRL_BAD_VALUE = 3,
    NMBRL_OUT_OF_STEP = 4,
    NMBRL_NO_MODEL = 5,
    NMBRL_NO_PLANNER = 6
} nmbrl_refusal;

/* A body being read or written; a reader that runs off the end reads zeros and says so. */
typedef struct {
    const uint8_t *data;
    size_t length;
    size_t position;
    int ran_off;
} nmbrl_reader;

typedef struct {
    uint8_t *data; /* NMBRL_MAX_BODY bytes; what a message can hold is checked when compiling */
    size_t length;
} nmbrl_writer;

static inline void nmbrl_get(nmbrl_reader *reader, void *to, size_t length) {
    if (reader->length - reader->position < length) {
        memset(to, 0, length);
        reader->position = reader->length;
        reader->ran_off = 1;
        return;
    }
    memcpy(to, reader->data + reader->position, length);
    reader->position += length;
}

static inline uint8_t nmbrl_get_u8(nmbrl_reader *reader) {
    uint8_t value;
    nmbrl_get(reader, &value, sizeof value);
    return value;
}

static inline uint16_t nmbrl_get_u16(nmbrl_reader *reader) {
    uint16_t value;
    nmbrl_get(reader, &value, sizeof value);
    return value;
}

static inline uint32_t nmbrl_get_u32(nmbrl_reader *reader) {
    uint32_t value;
    nmbrl_get(reader, &value, sizeof value);
    return value;
}

static inline uint64_t nmbrl_get_u64(nmbrl_reader *reader) {
    uint64_t value;
    nmbrl_get(reader, &value, sizeof value);
    return value;
}

static inline float nmbrl_get_f32(nmbrl_reader *reader) {
    float value;
    nmbrl_get(reader, &value, sizeof value);
    return value;
}

/* Whether the body was exactly as long as what was read. */
static inline int nmbrl_at_end(const nmbrl_reader *reader) {
    return !reader->ran_off && reader->position == reader->length;
}

static inline void nmbrl_put(nmbrl_writer *writer, const void *from, size_t length) {
    memcpy(writer->data + writer->length, from, length);
    writer->length += length;
}

static inline void nmbrl_put_u8(nmbrl_writer *writer, uint8_t value) {
    nmbrl_put(writer, &value, sizeof value);
}

static inline void nmbrl_put_u16(nmbrl_writer *writer, uint16_t value) {
    nmbrl_put(writer, &value, sizeof value);
}

static inline void nmbrl_put_u32(nmbrl_writer *writer, uint32_t value) {
    nmbrl_put(writer, &value, sizeof value);
}

static inline void nmbrl_put_u64(nmbrl_writer *writer, uint64_t value) {
    nmbrl_put(writer, &value, sizeof value);
}

#endif
