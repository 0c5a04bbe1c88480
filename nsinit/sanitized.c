/* In the build with sanitizers alone: what holds where the environment, being the command's, has no options for them.
 * Memory lives until exec or exit on purpose, so leaks mean nothing; and who looks for them stops all threads, which
 * in a process between namespaces has no end. */
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

const char *__asan_default_options(void)
{
	return "detect_leaks=0:exitcode=99";
}

const char *__ubsan_default_options(void)
{
	return "print_stacktrace=1:exitcode=99";
}
