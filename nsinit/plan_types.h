/* The parts of a plan's format that do not depend on the instruction set.
 * Everything is little-endian; the encoder is sandbox/plan/encode.py. */
#pragma once

#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "a plan is little-endian and is used as it lies in memory"
#endif

struct plan_header {
	char magic[8];
	uint32_t instruction_set;
	uint32_t checksum; /* CRC-32 of everything behind it */
	uint32_t size;
	uint32_t key_at, key_size;
	uint32_t inputs_at, inputs_count;
	uint32_t ops_at, ops_size, ops_count;
	uint32_t texts_at, texts_size;
	uint32_t lists_at, lists_count;
	uint32_t blobs_at, blobs_size;
};

struct plan_op {
	uint16_t code;
	uint16_t flags;
	uint32_t size;
	uint32_t origin; /* a text */
	uint32_t reserved;
};

struct plan_texts {
	uint32_t first; /* index into the lists */
	uint32_t count;
};

struct plan_blob {
	uint32_t offset; /* into the blobs */
	uint32_t size;
};

struct plan_input {
	uint32_t kind, mode;
	uint32_t name, value; /* texts */
	uint64_t device, inode, size;
	int64_t mtime_ns, ctime_ns;
};
