/* Fuzz what those who are attached send: a packet that we know lies in the bytes that came, and all else is none. */
#include "attach.h"

#include <string.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* An exact allocation, so that a byte read too far is seen. */
	char *bytes = malloc(size ? size : 1);

	fuzz_require(bytes != NULL);
	if (size)
		memcpy(bytes, data, size);
	struct attach_packet packet = attach_read(bytes, size);
	switch (packet.letter) {
	case ATTACH_DATA:
		fuzz_require(size > 1 && packet.bytes == bytes + 1 && packet.size == size - 1);
		break;
	case ATTACH_WINDOW:
		fuzz_require(size == 5 && (packet.rows & 0xff) == data[1] && packet.columns >> 8 == data[4]);
		break;
	case ATTACH_CLOSE:
		fuzz_require(size && data[0] == 'c');
		break;
	case ATTACH_HELLO:
	case ATTACH_STDOUT:
	case ATTACH_STDERR:
	case ATTACH_EXIT:
		fuzz_require(0);
		break;
	}
	free(bytes);
	return 0;
}
