/* Descriptors given to others over unix sockets that the caller names. */
#pragma once

#include <stddef.h>

/* Connect to the socket at `path`, a stream, and send it `data` with the descriptor `fd`. */
int pass_fd(const char *path, int fd, const void *data, size_t size);
