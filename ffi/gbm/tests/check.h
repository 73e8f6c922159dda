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

/* What is not the same in minigbm's header: the unit of gbm_bo_get_bpp in bits, and a bit that no usage has. Where it has no rule of
 * Mesa's, such as that nobody draws a cursor, the check asks for MINIGBM itself. */
#ifdef MINIGBM
#define BPP_BITS 8
#define UNKNOWN_FLAG (1u << 20)
#else
#define BPP_BITS 1
#define UNKNOWN_FLAG (1u << 11)
#endif

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The node that is tested, or what stands for one where the host is in this process. */
static inline int
open_node(void)
{
   const char *node = getenv("VIRGBM_TEST_NODE");
   int fd = open(node ? node : "/dev/null", O_RDWR | O_CLOEXEC);
   CHECK(fd >= 0);
   return fd;
}

static inline int
count_fds(void)
{
   int count = 0;
   DIR *folder = opendir("/proc/self/fd");
   CHECK(folder);
   while (readdir(folder))
      count++;
   closedir(folder);
   return count;
}

/* A device on the node that a variable names. */
static inline struct gbm_device *
open_device(const char *variable, int *fd)
{
   const char *node = getenv(variable);
   CHECK(node);
   *fd = open(node, O_RDWR | O_CLOEXEC);
   CHECK(*fd >= 0);
   struct gbm_device *gbm = gbm_create_device(*fd);
   CHECK(gbm);
   return gbm;
}

#endif
