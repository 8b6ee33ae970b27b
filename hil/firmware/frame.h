/* Frames on the wire (docs/wire-protocol.md): COBS between zero bytes, a CRC-32 at the end, bounded in length. */
#ifndef NMBRL_FRAME_H
#define NMBRL_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define NMBRL_MAX_BODY 2048u
#define NMBRL_FRAME_HEADER 3u /* kind, sequence number */
#define NMBRL_FRAME_CRC 4u
#define NMBRL_MAX_FRAME (NMBRL_FRAME_HEADER + NMBRL_MAX_BODY + NMBRL_FRAME_CRC)
/* COBS adds a byte and another one after every 254; a zero byte stands before and after. */
#define NMBRL_MAX_ENCODED (NMBRL_MAX_FRAME + NMBRL_MAX_FRAME / 254u + 3u)

typedef enum {
    NMBRL_FRAME_NONE,      /* nothing complete yet */
    NMBRL_FRAME_GOOD,      /* kind, sequence and body are valid */
    NMBRL_FRAME_TRUNCATED, /* a zero byte inside a COBS block */
    NMBRL_FRAME_SHORT,     /* no room for header and CRC */
    NMBRL_FRAME_LONG,      /* more than NMBRL_MAX_FRAME bytes */
    NMBRL_FRAME_BAD_CRC
} nmbrl_frame_status;

/* Decodes a stream byte by byte; all zero is its initial state. Fields of a good frame hold until the next push. */
typedef struct {
    uint8_t raw[NMBRL_MAX_FRAME];
    size_t length; /* bytes in raw */
    uint8_t code;  /* length byte of the block being read; 0 between frames */
    uint8_t left;  /* bytes of that block still to come */
    uint8_t too_long;
    uint8_t kind;
    uint16_t sequence;
    const uint8_t *body;
    size_t body_length;
} nmbrl_frame_decoder;

/* CRC-32 as in IEEE 802.3 and zlib. */
uint32_t nmbrl_crc32(const uint8_t *data, size_t length);

/* Writes a frame with its zero bytes to out (NMBRL_MAX_ENCODED bytes); returns its length, 0 if the body is too long. */
size_t nmbrl_frame_encode(uint8_t kind, uint16_t sequence, const uint8_t *body, size_t body_length, uint8_t *out);

nmbrl_frame_status nmbrl_frame_push(nmbrl_frame_decoder *decoder, uint8_t byte);

#endif
