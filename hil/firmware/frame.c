#include "frame.h"

/* The CRC of a nibble, shifted to the end of the register: 64 bytes of table instead of 1024. */
static const uint32_t crc_of_nibble[16] = {
    0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u, 0x4DB26158u, 0x5005713Cu,
    0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu, 0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
};

static uint32_t crc_update(uint32_t crc, const uint8_t *data, size_t length) {
    for (size_t i = 0; i < length; i++) {
        crc ^= data[i];
        crc = (crc >> 4) ^ crc_of_nibble[crc & 15u];
        crc = (crc >> 4) ^ crc_of_nibble[crc & 15u];
    }
    return crc;
}

uint32_t nmbrl_crc32(const uint8_t *data, size_t length) {
    return ~crc_update(0xFFFFFFFFu, data, length);
}

/* Where the encoder stands: the length byte of the open block is filled in when the block ends. */
typedef struct {
    uint8_t *out;
    size_t length;
    size_t code_at;
} cobs_writer;

static void open_block(cobs_writer *writer) {
    writer->code_at = writer->length;
    writer->out[writer->length++] = 1;
}

static void put(cobs_writer *writer, const uint8_t *data, size_t length) {
    for (size_t i = 0; i < length; i++) {
        /* A full block is closed by the byte after it, so that a frame never ends in an empty one. */
        if (writer->out[writer->code_at] == 0xFF) {
            open_block(writer);
        }
        if (data[i] == 0) {
            open_block(writer);
        } else {
            writer->out[writer->length++] = data[i];
            writer->out[writer->code_at]++;
        }
    }
}

size_t nmbrl_frame_encode(uint8_t kind, uint16_t sequence, const uint8_t *body, size_t body_length, uint8_t *out) {
    if (body_length > NMBRL_MAX_BODY) {
        return 0;
    }
    const uint8_t header[NMBRL_FRAME_HEADER] = {kind, (uint8_t)sequence, (uint8_t)(sequence >> 8)};
    uint32_t crc = ~crc_update(crc_update(0xFFFFFFFFu, header, sizeof header), body, body_length);
    const uint8_t end[NMBRL_FRAME_CRC] = {(uint8_t)crc, (uint8_t)(crc >> 8), (uint8_t)(crc >> 16), (uint8_t)(crc >> 24)};
    /* The leading zero ends whatever noise came before, so that it cannot swallow this frame. */
    cobs_writer writer = {out, 0, 0};
    out[writer.length++] = 0;
    open_block(&writer);
    put(&writer, header, sizeof header);
    put(&writer, body, body_length);
    put(&writer, end, sizeof end);
    out[writer.length++] = 0;
    return writer.length;
}

static void append(nmbrl_frame_decoder *decoder, uint8_t byte) {
    if (decoder->length < NMBRL_MAX_FRAME) {
        decoder->raw[decoder->length++] = byte;
    } else {
        decoder->too_long = 1;
    }
}

static nmbrl_frame_status finish(nmbrl_frame_decoder *decoder) {
    if (decoder->too_long) {
        return NMBRL_FRAME_LONG;
    }
    if (decoder->left != 0) {
        return NMBRL_FRAME_TRUNCATED;
    }
    if (decoder->length < NMBRL_FRAME_HEADER + NMBRL_FRAME_CRC) {
        return NMBRL_FRAME_SHORT;
    }
    size_t end = decoder->length - NMBRL_FRAME_CRC;
    const uint8_t *raw = decoder->raw;
    uint32_t crc = raw[end] | (uint32_t)raw[end + 1] << 8 | (uint32_t)raw[end + 2] << 16 | (uint32_t)raw[end + 3] << 24;
    if (crc != nmbrl_crc32(raw, end)) {
        return NMBRL_FRAME_BAD_CRC;
    }
    decoder->kind = raw[0];
    decoder->sequence = (uint16_t)(raw[1] | (unsigned)raw[2] << 8);
    decoder->body = raw + NMBRL_FRAME_HEADER;
    decoder->body_length = end - NMBRL_FRAME_HEADER;
    return NMBRL_FRAME_GOOD;
}

nmbrl_frame_status nmbrl_frame_push(nmbrl_frame_decoder *decoder, uint8_t byte) {
    if (byte == 0) {
        nmbrl_frame_status status = decoder->code == 0 ? NMBRL_FRAME_NONE : finish(decoder);
        decoder->length = 0;
        decoder->code = 0;
        decoder->left = 0;
        decoder->too_long = 0;
        return status;
    }
    if (decoder->left > 0) {
        decoder->left--;
        append(decoder, byte);
    } else {
        /* Every block but a full one stands for a zero byte after it, if anything follows. */
        if (decoder->code != 0 && decoder->code != 0xFF) {
            append(decoder, 0);
        }
        decoder->code = byte;
        decoder->left = (uint8_t)(byte - 1);
    }
    return NMBRL_FRAME_NONE;
}
