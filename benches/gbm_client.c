/* Times buffers through the gbm API, whichever library implements it: gbm_client NODE [ROUNDS]
 *
 * Prints `name value` lines: medians of a round in microseconds, and the DRM ioctls of one round, all threads included.
 * benches/in_guest builds it and runs it in a VM. What a round wrote is read back once for each kind, outside of its time. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <gbm.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

/* What compositors ask for. */
#define USAGE (GBM_BO_USE_SCANOUT | GBM_BO_USE_RENDERING)
#define FORMAT GBM_FORMAT_XRGB8888
#define BYTES_PER_PIXEL 4u
#define PART 64u
#define WARM_UP 3

struct size {
    uint32_t width, height;
};
static const struct size SIZES[] = {{1920, 1080}, {64, 64}};

static void fail(const char *format, ...)
{
    int error = errno;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, ": %s\n", strerror(error));
    exit(1);
}

static struct gbm_bo *create(struct gbm_device *device, struct size size)
{
    struct gbm_bo *bo = gbm_bo_create(device, size.width, size.height, FORMAT, USAGE);
    if (!bo)
        fail("gbm_bo_create %ux%u", size.width, size.height);
    return bo;
}

static void *map(struct gbm_bo *bo, struct size size, uint32_t transfer, uint32_t *stride, void **handle)
{
    *handle = NULL;
    void *address = gbm_bo_map(bo, 0, 0, size.width, size.height, transfer, stride, handle);
    if (!address)
        fail("gbm_bo_map %ux%u", size.width, size.height);
    return address;
}

/* Each row of each round has another byte, so that stale or swapped rows show. */
static uint8_t pattern(unsigned round, uint32_t row)
{
    return (uint8_t)(round * 31 + row * 7 + 1);
}

static void map_and_write(struct gbm_bo *bo, struct size size, unsigned round)
{
    uint32_t stride;
    void *handle;
    uint8_t *bytes = map(bo, size, GBM_BO_TRANSFER_WRITE, &stride, &handle);
    for (uint32_t row = 0; row < size.height; row++)
        memset(bytes + (size_t)row * stride, pattern(round, row), (size_t)size.width * BYTES_PER_PIXEL);
    gbm_bo_unmap(bo, handle);
}

static void check(struct gbm_bo *bo, struct size size, unsigned round)
{
    uint32_t stride;
    void *handle;
    const uint8_t *bytes = map(bo, size, GBM_BO_TRANSFER_READ, &stride, &handle);
    for (uint32_t row = 0; row < size.height; row++)
        for (uint32_t byte = 0; byte < size.width * BYTES_PER_PIXEL; byte++)
            if (bytes[(size_t)row * stride + byte] != pattern(round, row)) {
                fprintf(stderr, "%ux%u: byte %u of row %u was lost\n", size.width, size.height, byte, row);
                exit(1);
            }
    gbm_bo_unmap(bo, handle);
}

/* What a round works on: the buffer is for those that map. */
struct job {
    struct gbm_device *device;
    struct gbm_bo *bo;
    struct size size;
};

static void create_and_destroy(const struct job *job, unsigned round)
{
    (void)round;
    gbm_bo_destroy(create(job->device, job->size));
}

static void write_part(const struct job *job, unsigned round)
{
    map_and_write(job->bo, (struct size){PART, PART}, round);
}

static void write_all(const struct job *job, unsigned round)
{
    map_and_write(job->bo, job->size, round);
}

static const struct kind {
    const char *name;
    void (*run)(const struct job *, unsigned round);
} KINDS[] = {{"create_destroy", create_and_destroy}, {"map_write_part_unmap", write_part}, {"map_write_all_unmap", write_all}};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median(const struct kind *kind, const struct job *job, unsigned rounds, double *times)
{
    for (unsigned round = 0; round < WARM_UP; round++)
        kind->run(job, round);
    for (unsigned round = 0; round < rounds; round++) {
        double start = now();
        kind->run(job, round);
        times[round] = now() - start;
    }
    qsort(times, rounds, sizeof *times, by_value);
    return times[rounds / 2];
}

#ifdef __x86_64__
/* Counts ioctls with a system call filter that sends each to a handler, which lets it through by its sixth argument, which
 * ioctl does not have. So a library that makes its system calls itself is counted too. There is no way back from a filter. */
#define LET_THROUGH 0x76697267u
static volatile unsigned drm_ioctls;

static void on_ioctl(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    if (((registers[REG_RSI] >> 8) & 0xff) == 'd')
        __atomic_fetch_add(&drm_ioctls, 1, __ATOMIC_RELAXED);
    int error = errno;
    long result = syscall(SYS_ioctl, registers[REG_RDI], registers[REG_RSI], registers[REG_RDX], 0L, 0L, (long)LET_THROUGH);
    registers[REG_RAX] = result < 0 ? -errno : result;
    errno = error;
}

static int count_ioctls(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, LET_THROUGH, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    struct sigaction action = {.sa_sigaction = on_ioctl, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
    return sigaction(SIGSYS, &action, NULL) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}
#else
static unsigned drm_ioctls;
static int count_ioctls(void)
{
    return 0;
}
#endif

/* Calls back for every size and kind; the kinds of a size share a buffer. */
static void for_each(struct gbm_device *device, void (*visit)(const struct kind *, const struct job *, void *), void *context)
{
    for (size_t size = 0; size < sizeof SIZES / sizeof *SIZES; size++) {
        struct job job = {device, create(device, SIZES[size]), SIZES[size]};
        for (size_t kind = 0; kind < sizeof KINDS / sizeof *KINDS; kind++)
            visit(&KINDS[kind], &job, context);
        gbm_bo_destroy(job.bo);
    }
}

struct timing {
    unsigned rounds;
    double *times;
};

static void print_time(const struct kind *kind, const struct job *job, void *context)
{
    const struct timing *timing = context;
    double time = median(kind, job, timing->rounds, timing->times);
    printf("%s_%ux%u %.1f\n", kind->name, job->size.width, job->size.height, time);
    fflush(stdout);
    if (kind->run == write_part)
        check(job->bo, (struct size){PART, PART}, timing->rounds - 1);
    if (kind->run == write_all)
        check(job->bo, job->size, timing->rounds - 1);
}

static void print_ioctls(const struct kind *kind, const struct job *job, void *context)
{
    (void)context;
    enum { COUNTED = 10 };
    kind->run(job, 0);
    unsigned before = drm_ioctls;
    for (unsigned round = 0; round < COUNTED; round++)
        kind->run(job, round);
    printf("ioctls_%s_%ux%u %.1f\n", kind->name, job->size.width, job->size.height, (drm_ioctls - before) / (double)COUNTED);
}

int main(int count, char **arguments)
{
    unsigned rounds = count > 2 ? (unsigned)strtoul(arguments[2], NULL, 10) : 51;
    if (count < 2 || count > 3 || rounds == 0) {
        fprintf(stderr, "usage: %s NODE [ROUNDS]\n", arguments[0]);
        return 2;
    }
    int node = open(arguments[1], O_RDWR | O_CLOEXEC);
    if (node < 0)
        fail("%s", arguments[1]);
    struct gbm_device *device = gbm_create_device(node);
    if (!device)
        fail("gbm_create_device");
    printf("backend %s\n", gbm_device_get_backend_name(device));

    struct timing timing = {rounds, calloc(rounds, sizeof(double))};
    if (!timing.times)
        fail("%u rounds", rounds);
    for_each(device, print_time, &timing);
    free(timing.times);
    if (count_ioctls())
        for_each(device, print_ioctls, NULL);
    else
        fprintf(stderr, "ioctls are not counted: %s\n", strerror(errno));

    gbm_device_destroy(device);
    close(node);
    return 0;
}
