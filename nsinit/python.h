/* The way from the launcher to Python. */
#pragma once

#include "sync.h"

/* What Python changes of our signals and of the environment, and whoever comes after it puts back (bits). */
enum python_signals { RESET_PIPE = 1, RESET_XFSZ = 2, UNBLOCK_INT = 4, UNSET_CTYPE = 8 };

/* Execute Python with our command line `argv`, in which the command, if we know it, begins at
 * `command_at`; returns only if that failed, with an exit status. */
int python_take_over(const char *self, int key_fd, const char *plan_name, long command_at, char *const argv[]);

/* Put the signals back as they were before Python, by a word that python_take_over() gave it. */
void python_restore_signals(int signals);

/* Give the variables their names back that Python's loader must not see. */
void python_take_back(void);

/* Let Python put a failure into words; returns an exit status. */
int python_explain(const char *self, int plan_fd, const struct sync_message *failure, int report_fd, int page_fd,
		   char *const command[]);

/* Become Python that makes a page of the report in `document_fd`, and writes it to the last name of `path` in the directory. */
int python_page(const char *self, int document_fd, int directory_fd, const char *path);

/* The same for engines, whose call is `words`, of whose descriptors `descriptors` from 3 on are the command's: make the
 * plan and come back; do all that the call asks for; say why it was refused. */
int python_compile(const char *self, int key_fd, const char *name, unsigned int descriptors, char *const words[]);
int python_engine(const char *self, unsigned int descriptors, char *const words[]);
int python_refuse(const char *self, int plan_fd, const struct sync_message *failure, char *const words[]);
