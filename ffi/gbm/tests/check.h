/* Checks that say where they fail. */
#ifndef CHECK_H
#define CHECK_H

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gbm.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOD_LINEAR 0ull
#define MOD_INVALID 0x00ffffffffffffffull
#define MOD_TILED 0x0100000000000002ull /* Intel's Y tiling, which plain memory is not. */

#define CHECK(condition)                                                                                               \
   do {                                                                                                                \
      if (!(condition)) {                                                                                              \
         fprintf(stderr, "%s:%d: %s (errno %d, %s)\n", __FILE__, __LINE__, #condition, errno, strerror(errno));        \
         exit(1);                                                                                                      \
      }                                                                                                                \
   } while (0)

/* The call fails as the condition says, with this errno. */
#define FAILS(condition, code)                                                                                         \
   do {                                                                                                                \
      errno = 0;                                                                                                       \
      CHECK(condition);                                                                                                \
      CHECK(errno == (code));                                                                                          \
   } while (0)

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
