/* The policy fragment is enough: a process that may call nothing else, but for what every program calls, makes, maps, exports and
 * imports buffers. seccomp POLICY; what is called beyond ends the process with SIGSYS. */
#include "program.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define MOST 512

static struct sock_filter filter[MOST];
static unsigned short length;

static void
add(struct sock_filter instruction)
{
   CHECK(length < MOST);
   filter[length++] = instruction;
}

static void
load(size_t offset)
{
   add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset));
}

static void
allow(void)
{
   add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
}

/* What every program calls, those of this one's own included. */
static const int COMMON[] = {
   SYS_read, SYS_write, SYS_close, SYS_brk, SYS_futex, SYS_exit_group, SYS_madvise, SYS_mprotect, SYS_getrandom,
   SYS_rt_sigprocmask, SYS_rt_sigaction,
};

static const struct { const char *name; int number; } CALLS[] = {
   {"ioctl", SYS_ioctl}, {"fcntl", SYS_fcntl}, {"mmap", SYS_mmap}, {"munmap", SYS_munmap}, {"lseek", SYS_lseek},
   {"fstat", SYS_fstat}, {"fstatfs", SYS_fstatfs}, {"getpid", SYS_getpid}, {"kcmp", SYS_kcmp}, {"ppoll", SYS_ppoll},
   {"sched_yield", SYS_sched_yield}, {"openat", SYS_openat}, {"getdents64", SYS_getdents64}, {"statx", SYS_statx},
   {"newfstatat", SYS_newfstatat},
};

/* One line: `call: 1`, `call: argN in MASK`, or `call: argN == NUMBER || ...`. */
static void
rule(char *line)
{
   char *expression = strchr(line, ':');
   CHECK(expression);
   *expression++ = 0;
   int number = -1;
   for (size_t i = 0; i < COUNT(CALLS); i++)
      if (strcmp(CALLS[i].name, line) == 0)
         number = CALLS[i].number;
   CHECK(number >= 0);
   unsigned int argument;
   unsigned long long value;
   /* What comes behind a rule that does not hold is filled in at its end. */
   unsigned short other = length;
   add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 0));
   if (strcmp(expression, " 1\n") == 0) {
      allow();
   } else if (sscanf(expression, " arg%u in %llx", &argument, &value) == 2) {
      load(offsetof(struct seccomp_data, args) + 8 * argument);
      add((struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, ~(uint32_t)value));
      add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1));
      allow();
   } else {
      for (char *term = strtok(expression, "|"); term; term = strtok(NULL, "|")) {
         CHECK(sscanf(term, " arg%u == %llx", &argument, &value) == 2);
         load(offsetof(struct seccomp_data, args) + 8 * argument);
         add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)value, 0, 1));
         allow();
      }
   }
   load(offsetof(struct seccomp_data, nr));
   CHECK(length - other - 2 < 256);
   filter[other].jf = length - other - 1;
}

static void
sandbox(const char *path)
{
   char line[4096];
   FILE *policy = fopen(path, "re");
   CHECK(policy);
   load(offsetof(struct seccomp_data, nr));
   for (size_t i = 0; i < COUNT(COMMON); i++) {
      add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, COMMON[i], 0, 1));
      allow();
   }
   while (fgets(line, sizeof line, policy))
      if (line[0] != '#' && line[0] != '\n')
         rule(line);
   fclose(policy);
   add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
   const struct sock_fprog program = {length, filter};
   CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
   CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void
test(struct gbm_device *gbm)
{
   static const uint32_t formats[] = {GBM_FORMAT_XRGB8888, GBM_FORMAT_NV12};
   const uint64_t linear[] = {MOD_LINEAR};
   sandbox(getenv("VIRGBM_TEST_POLICY"));
   int fd = open_node();
   struct gbm_device *other = gbm_create_device(fd);
   CHECK(other);
   for (size_t i = 0; i < COUNT(formats); i++) {
      struct gbm_bo *bo = create(gbm, 640, 480, formats[i], GBM_BO_USE_TEXTURING | GBM_BO_USE_SW_WRITE_OFTEN | GBM_BO_USE_SW_READ_OFTEN);
      uint32_t stride;
      void *map_data;
      CHECK(gbm_bo_map(bo, 0, 0, 64, 64, GBM_BO_TRANSFER_READ_WRITE, &stride, &map_data));
      gbm_bo_unmap(bo, map_data);
      struct gbm_import_fd_modifier_data data = {640, 480, formats[i], 1, {gbm_bo_get_fd(bo)}, {0}, {0}, gbm_bo_get_modifier(bo)};
      for (int plane = 0; plane < gbm_bo_get_plane_count(bo); plane++) {
         data.strides[plane] = gbm_bo_get_stride_for_plane(bo, plane);
         data.offsets[plane] = gbm_bo_get_offset(bo, plane);
      }
      struct gbm_bo *import = gbm_bo_import(other, GBM_BO_IMPORT_FD_MODIFIER, &data, 0);
      CHECK(import);
      CHECK(gbm_bo_map(import, 0, 0, 64, 64, GBM_BO_TRANSFER_READ, &stride, &map_data));
      gbm_bo_unmap(import, map_data);
      close(data.fds[0]);
      gbm_bo_destroy(import);
      gbm_bo_destroy(bo);
   }
   struct gbm_bo *bo = gbm_bo_create_with_modifiers(gbm, 64, 64, GBM_FORMAT_XRGB8888, linear, 1);
   CHECK(bo);
   gbm_bo_destroy(bo);
   gbm_device_destroy(other);
   close(fd);
   /* What program.h checks behind this is no allocator's. */
   gbm_device_destroy(gbm);
   _exit(0);
}
