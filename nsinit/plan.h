/* Reading and checking of a plan.  A plan is used only after plan_parse() has accepted
 * the whole of it; the accessors trust it from then on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "plan_ops.h"

#define PLAN_OPCODES 0x60

enum plan_field_kind { FIELD_U32, FIELD_U64, FIELD_TEXT, FIELD_TEXTS, FIELD_BLOB };
enum plan_stage { STAGE_NONE, STAGE_MONITOR, STAGE_INIT, STAGE_PROCESS };

struct plan_field {
	uint16_t offset;
	uint16_t kind;
};

struct plan_schema {
	uint32_t size;
	uint32_t fields_count;
	enum plan_stage stage;
	const struct plan_field *fields;
};

struct plan {
	const uint8_t *data;
	const struct plan_header *header;
};

extern const struct plan_schema plan_schemas[PLAN_OPCODES];
extern const uint32_t plan_crc_table[8][256];
int plan_dispatch(struct run *run, const struct plan_op *op);

int plan_parse(struct plan *plan, const uint8_t *data, size_t size);
int plan_read(struct plan *plan, int fd);
uint32_t plan_checksum(const uint8_t *data, size_t size);

const struct plan_op *plan_next(const struct plan *plan, const struct plan_op *op);
const struct plan_op *plan_find(const struct plan *plan, enum plan_opcode code);
uint32_t plan_index(const struct plan *plan, const struct plan_op *op);
const char *plan_text(const struct plan *plan, uint32_t text);
const char *plan_item(const struct plan *plan, struct plan_texts texts, uint32_t index);
const void *plan_blob(const struct plan *plan, struct plan_blob blob);
const struct plan_input *plan_inputs(const struct plan *plan);
bool plan_key_is(const struct plan *plan, const void *key, size_t size);
