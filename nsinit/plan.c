/* A plan is checked completely, once, before its first operation. */
#define _GNU_SOURCE
#include "plan.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reflected CRC-32, as zlib.crc32(), eight bytes at a time. */
static uint32_t crc32(const uint8_t *data, size_t size)
{
	const uint32_t (*table)[256] = plan_crc_table;
	uint32_t crc = ~0u;

	for (; size >= 8; data += 8, size -= 8) {
		uint32_t low, high;

		memcpy(&low, data, 4);
		memcpy(&high, data + 4, 4);
		low ^= crc;
		crc = table[7][low & 255] ^ table[6][low >> 8 & 255] ^ table[5][low >> 16 & 255] ^ table[4][low >> 24] ^
		      table[3][high & 255] ^ table[2][high >> 8 & 255] ^ table[1][high >> 16 & 255] ^ table[0][high >> 24];
	}
	for (; size; data++, size--)
		crc = crc >> 8 ^ table[0][(crc ^ *data) & 255];
	return ~crc;
}

/* The checksum that the header of a plan of `size` bytes ought to have. */
uint32_t plan_checksum(const uint8_t *data, size_t size)
{
	const size_t checked = offsetof(struct plan_header, size);

	return crc32(data + checked, size - checked);
}

/* Does a part of `count` elements lie within the plan, where its elements are aligned? */
static bool part_fits(const struct plan_header *header, uint32_t at, uint64_t count, size_t element)
{
	return at % 8 == 0 && at >= sizeof(*header) && at <= header->size && count * element <= header->size - at;
}

static bool text_valid(const struct plan_header *header, uint32_t text)
{
	return text < header->texts_size; /* the last text ends with the pool's last byte */
}

static bool field_valid(const struct plan *plan, const uint8_t *value, enum plan_field_kind kind)
{
	const struct plan_header *header = plan->header;
	uint32_t pair[2];

	switch (kind) {
	case FIELD_U32:
	case FIELD_U64:
		return true;
	case FIELD_TEXT:
		memcpy(pair, value, sizeof(pair[0]));
		return text_valid(header, pair[0]);
	case FIELD_TEXTS:
		memcpy(pair, value, sizeof(pair));
		return pair[0] <= header->lists_count && pair[1] <= header->lists_count - pair[0];
	case FIELD_BLOB:
		memcpy(pair, value, sizeof(pair));
		return pair[0] % 8 == 0 && pair[0] <= header->blobs_size && pair[1] <= header->blobs_size - pair[0];
	}
	return false;
}

static bool op_valid(const struct plan *plan, const struct plan_op *op, uint32_t left)
{
	const uint8_t *bytes = (const uint8_t *)op;

	if (left < sizeof(*op) || op->code >= PLAN_OPCODES || op->reserved)
		return false;
	const struct plan_schema *schema = &plan_schemas[op->code];
	if (!schema->size || op->size != schema->size || op->size > left || !text_valid(plan->header, op->origin))
		return false;
	if (op->flags & ~PLAN_FLAGS)
		return false;
	for (uint32_t i = 0; i < schema->fields_count; i++)
		if (!field_valid(plan, bytes + schema->fields[i].offset, schema->fields[i].kind))
			return false;
	return true;
}

static bool ops_valid(const struct plan *plan)
{
	const struct plan_header *header = plan->header;
	const uint8_t *at = plan->data + header->ops_at;
	uint32_t left = header->ops_size;

	for (uint32_t i = 0; i < header->ops_count; i++) {
		const struct plan_op *op = (const struct plan_op *)at;

		if (!op_valid(plan, op, left))
			return false;
		at += op->size;
		left -= op->size;
	}
	return left == 0;
}

static bool inputs_valid(const struct plan *plan)
{
	const struct plan_input *inputs = plan_inputs(plan);

	for (uint32_t i = 0; i < plan->header->inputs_count; i++)
		if (!text_valid(plan->header, inputs[i].name) || !text_valid(plan->header, inputs[i].value) ||
		    inputs[i].kind < INPUT_FILE || inputs[i].kind > INPUT_WORDS)
			return false;
	return true;
}

static bool lists_valid(const struct plan *plan)
{
	const uint32_t *lists = (const uint32_t *)(plan->data + plan->header->lists_at);

	for (uint32_t i = 0; i < plan->header->lists_count; i++)
		if (!text_valid(plan->header, lists[i]))
			return false;
	return true;
}

/* Accept `size` bytes at `data`, which stay the caller's and are aligned to 8, as a plan.
 * EBADMSG: they are none. */
int plan_parse(struct plan *plan, const uint8_t *data, size_t size)
{
	const struct plan_header *header = (const struct plan_header *)data;

	*plan = (struct plan){ .data = data, .header = header };
	errno = EBADMSG;
	if (size < sizeof(*header) || size > PLAN_MAX_SIZE || memcmp(header->magic, PLAN_MAGIC, sizeof(header->magic)) ||
	    header->instruction_set != PLAN_INSTRUCTION_SET || header->size != size)
		return -1;
	if (header->checksum != plan_checksum(data, size))
		return -1;
	if (!part_fits(header, header->key_at, header->key_size, 1) ||
	    !part_fits(header, header->inputs_at, header->inputs_count, sizeof(struct plan_input)) ||
	    !part_fits(header, header->ops_at, header->ops_size, 1) ||
	    !part_fits(header, header->texts_at, header->texts_size, 1) ||
	    !part_fits(header, header->lists_at, header->lists_count, sizeof(uint32_t)) ||
	    !part_fits(header, header->blobs_at, header->blobs_size, 1))
		return -1;
	/* With a NUL at its end, every offset into the pool is a text. */
	if (!header->texts_size || data[header->texts_at + header->texts_size - 1])
		return -1;
	if (!lists_valid(plan) || !inputs_valid(plan) || !ops_valid(plan))
		return -1;
	errno = 0;
	return 0;
}

/* Read a plan from the start of the file `fd` into memory of our own, which is never freed:
 * the file may change behind us, the plan must not. */
int plan_read(struct plan *plan, int fd)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return -1;
	if (!S_ISREG(status.st_mode) || status.st_size <= 0 || status.st_size > PLAN_MAX_SIZE) {
		errno = EBADMSG;
		return -1;
	}
	size_t size = (size_t)status.st_size;
	uint8_t *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (data == MAP_FAILED)
		return -1;
	if (pread(fd, data, size, 0) != (ssize_t)size) {
		munmap(data, size);
		errno = EBADMSG;
		return -1;
	}
	if (plan_parse(plan, data, size) < 0) {
		munmap(data, size);
		errno = EBADMSG;
		return -1;
	}
	return 0;
}

/* The operation behind `op`; the first for NULL; NULL behind the last. */
const struct plan_op *plan_next(const struct plan *plan, const struct plan_op *op)
{
	const uint8_t *start = plan->data + plan->header->ops_at;
	const uint8_t *next = op ? (const uint8_t *)op + op->size : start;

	return next < start + plan->header->ops_size ? (const struct plan_op *)next : NULL;
}

const struct plan_op *plan_find(const struct plan *plan, enum plan_opcode code)
{
	const struct plan_op *op = plan_next(plan, NULL);

	while (op && op->code != code)
		op = plan_next(plan, op);
	return op;
}

uint32_t plan_index(const struct plan *plan, const struct plan_op *op)
{
	uint32_t index = 0;

	for (const struct plan_op *at = plan_next(plan, NULL); at && at != op; at = plan_next(plan, at))
		index++;
	return index;
}

const char *plan_text(const struct plan *plan, uint32_t text)
{
	return (const char *)plan->data + plan->header->texts_at + text;
}

const char *plan_item(const struct plan *plan, struct plan_texts texts, uint32_t index)
{
	const uint32_t *lists = (const uint32_t *)(plan->data + plan->header->lists_at);

	return plan_text(plan, lists[texts.first + index]);
}

const void *plan_blob(const struct plan *plan, struct plan_blob blob)
{
	return plan->data + plan->header->blobs_at + blob.offset;
}

const struct plan_input *plan_inputs(const struct plan *plan)
{
	return (const struct plan_input *)(plan->data + plan->header->inputs_at);
}

bool plan_key_is(const struct plan *plan, const void *key, size_t size)
{
	return plan->header->key_size == size && !memcmp(plan->data + plan->header->key_at, key, size);
}
