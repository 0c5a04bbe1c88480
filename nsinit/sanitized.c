/* In the build with sanitizers alone: what holds where the environment, being the command's, has no options for them.
 * Memory lives until exec or exit on purpose, so leaks mean nothing; and who looks for them stops all threads, which
 * in a process between namespaces has no end.
 *
 * And no handlers of signals: process 1 of a namespace gets those alone from inside that it has a handler for, and one for
 * SIGSEGV would let the contained program end it.  What is outside has them by its environment (tests/sanitize). */
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

const char *__asan_default_options(void)
{
	return "detect_leaks=0:exitcode=99:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:handle_abort=0";
}

const char *__ubsan_default_options(void)
{
	return "print_stacktrace=1:exitcode=99";
}
