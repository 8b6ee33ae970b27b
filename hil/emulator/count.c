/* A QEMU plugin that counts the executed instructions of every function and, when the emulator ends, writes a line
 * "COUNT NAME" for each to the file given as out=FILE.
 *
 * The prototypes are those of QEMU's plugin API, version 1 (docs/devel/tcg-plugins.rst of QEMU 7.2), whose header
 * distributions do not ship.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
/* Halfwords of code that are told apart: the first 2 MiB, where every board's flash begins. */
#define PLACES (1u << 20)

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { INLINE_ADD_U64 = 0 };

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *instruction);
const char *qemu_plugin_insn_symbol(const struct qemu_plugin_insn *instruction);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *instruction, int operation, void *counter,
                                                uint64_t value);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*callback)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_atexit_cb(plugin_id id, void (*callback)(plugin_id, void *), void *data);

EXPORT int qemu_plugin_version = 1;

static uint64_t counts[PLACES + 1]; /* the last one: code elsewhere */
static const char *names[PLACES + 1];
static char out[4096];

/* A block that is translated anew, in whole or in part, adds to the same counters. */
static void translated(plugin_id id, struct qemu_plugin_tb *block) {
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
        uint64_t place = qemu_plugin_insn_vaddr(instruction) / 2;
        if (place > PLACES) {
            place = PLACES;
        }
        names[place] = place == PLACES ? NULL : qemu_plugin_insn_symbol(instruction);
        qemu_plugin_register_vcpu_insn_exec_inline(instruction, INLINE_ADD_U64, &counts[place], 1);
    }
}

static void finished(plugin_id id, void *data) {
    (void)id;
    (void)data;
    FILE *file = fopen(out, "w");
    if (file == NULL) {
        return;
    }
    for (size_t place = 0; place <= PLACES; place++) {
        if (counts[place] > 0) {
            fprintf(file, "%llu %s\n", (unsigned long long)counts[place],
                    names[place] != NULL && names[place][0] != 0 ? names[place] : "?");
        }
    }
    fclose(file);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int count, char **arguments) {
    (void)info;
    if (count != 1 || strncmp(arguments[0], "out=", 4) != 0 || strlen(arguments[0]) >= sizeof out) {
        return 1;
    }
    strcpy(out, arguments[0] + 4);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, finished, NULL);
    return 0;
}
