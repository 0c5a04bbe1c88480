/* Fuzz the decoder: whatever the bytes are, it refuses them or every accessor stays within them.
 *
 * The checksum is made right first: a fuzzer would not find past it, and it is no defence. */
#include "fuzz.h"
#include "plan.h"

static volatile size_t touched;

static void touch_text(const struct plan *plan, uint32_t text)
{
	touched += strlen(plan_text(plan, text));
}

static void touch_field(const struct plan *plan, const uint8_t *value, enum plan_field_kind kind)
{
	struct plan_texts texts;
	struct plan_blob blob;
	uint32_t text;

	switch (kind) {
	case FIELD_U32:
	case FIELD_U64:
		touched += *value;
		break;
	case FIELD_TEXT:
		memcpy(&text, value, sizeof(text));
		touch_text(plan, text);
		break;
	case FIELD_TEXTS:
		memcpy(&texts, value, sizeof(texts));
		for (uint32_t i = 0; i < texts.count; i++)
			touched += strlen(plan_item(plan, texts, i));
		break;
	case FIELD_BLOB:
		memcpy(&blob, value, sizeof(blob));
		for (uint32_t i = 0; i < blob.size; i++)
			touched += ((const uint8_t *)plan_blob(plan, blob))[i];
		break;
	}
}

static void touch_everything(const struct plan *plan)
{
	for (const struct plan_op *op = plan_next(plan, NULL); op; op = plan_next(plan, op)) {
		const struct plan_schema *schema = &plan_schemas[op->code];

		touch_text(plan, op->origin);
		for (uint32_t i = 0; i < schema->fields_count; i++)
			touch_field(plan, (const uint8_t *)op + schema->fields[i].offset, schema->fields[i].kind);
	}
	for (uint32_t i = 0; i < plan->header->inputs_count; i++) {
		touch_text(plan, plan_inputs(plan)[i].name);
		touch_text(plan, plan_inputs(plan)[i].value);
	}
	touched += plan_key_is(plan, "key", 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct plan plan;

	/* An exact allocation, so that a byte read too far is seen. */
	uint8_t *copy = malloc(size ? size : 1);
	if (!copy)
		return 0;
	if (size)
		memcpy(copy, data, size);
	if (size >= sizeof(struct plan_header)) {
		struct plan_header *header = (struct plan_header *)copy;

		memcpy(header->magic, PLAN_MAGIC, sizeof(header->magic));
		header->instruction_set = PLAN_INSTRUCTION_SET;
		header->size = (uint32_t)size;
		header->checksum = plan_checksum(copy, size);
	}
	if (!plan_parse(&plan, copy, size))
		touch_everything(&plan);
	free(copy);
	return 0;
}
