/* Times buffers through the gbm API, whichever library implements it: gbm_client NODE [ROUNDS [THREADS]]
 *
 * Prints lines: `KIND_SIZE THREADS MICROSECONDS`, the median of all rounds of all threads, each of which has buffers of its own;
 * and `ioctls KIND_SIZE COUNT`, the DRM ioctls of a round, those of threads that the library has started included.
 * benches/in_guest builds it and runs it in a VM. What was written is read back once for each kind, outside of its time. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <gbm.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
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
#define MOST_THREADS 4

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

/* What a round works on: a buffer of the thread's own, and its descriptor. */
struct job {
    struct gbm_device *device;
    struct gbm_bo *bo;
    struct size size;
    struct gbm_import_fd_modifier_data exported;
};

static int export(struct gbm_bo *bo)
{
    int fd = gbm_bo_get_fd(bo);
    if (fd < 0)
        fail("gbm_bo_get_fd");
    return fd;
}

static struct job start_job(struct gbm_device *device, struct size size)
{
    struct gbm_bo *bo = create(device, size);
    struct gbm_import_fd_modifier_data exported = {size.width, size.height, FORMAT, 1, {export(bo)}, {gbm_bo_get_stride(bo)}, {0},
                                                   gbm_bo_get_modifier(bo)};
    return (struct job){device, bo, size, exported};
}

static void end_job(struct job *job)
{
    close(job->exported.fds[0]);
    gbm_bo_destroy(job->bo);
}

static void create_and_destroy(struct job *job, unsigned round)
{
    (void)round;
    gbm_bo_destroy(create(job->device, job->size));
}

static void write_part(struct job *job, unsigned round)
{
    map_and_write(job->bo, (struct size){PART, PART}, round);
}

static void write_all(struct job *job, unsigned round)
{
    map_and_write(job->bo, job->size, round);
}

static void export_and_close(struct job *job, unsigned round)
{
    (void)round;
    close(export(job->bo));
}

static void import_and_destroy(struct job *job, unsigned round)
{
    (void)round;
    struct gbm_bo *bo = gbm_bo_import(job->device, GBM_BO_IMPORT_FD_MODIFIER, &job->exported, USAGE);
    if (!bo)
        fail("gbm_bo_import");
    gbm_bo_destroy(bo);
}

static const struct kind {
    const char *name;
    void (*run)(struct job *, unsigned round);
} KINDS[] = {
    {"create_destroy", create_and_destroy}, {"map_write_part_unmap", write_part}, {"map_write_all_unmap", write_all},
    {"export_close", export_and_close},     {"import_destroy", import_and_destroy},
};

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

/* What a thread does. */
struct thread {
    const struct kind *kind;
    struct job job;
    unsigned rounds;
    double *times;
    pthread_barrier_t *start;
    pthread_t id;
};

static void *run_thread(void *argument)
{
    struct thread *thread = argument;
    for (unsigned round = 0; round < WARM_UP; round++)
        thread->kind->run(&thread->job, round);
    pthread_barrier_wait(thread->start);
    for (unsigned round = 0; round < thread->rounds; round++) {
        double start = now();
        thread->kind->run(&thread->job, round);
        thread->times[round] = now() - start;
    }
    return NULL;
}

/* Runs threads that have their jobs, and gives the median of all their rounds. */
static double median(struct thread *threads, unsigned count, const struct kind *kind, unsigned rounds, double *times)
{
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, count);
    for (unsigned i = 0; i < count; i++) {
        threads[i] = (struct thread){kind, threads[i].job, rounds, times + i * rounds, &start, 0};
        if ((errno = pthread_create(&threads[i].id, NULL, run_thread, &threads[i])))
            fail("thread %u", i);
    }
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i].id, NULL);
    pthread_barrier_destroy(&start);
    qsort(times, count * rounds, sizeof *times, by_value);
    return times[count * rounds / 2];
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

/* The part of a small buffer is all of it. */
static int makes_sense(const struct kind *kind, struct size size)
{
    return kind->run != write_part || size.width > PART;
}

static void print_times(struct gbm_device *device, struct size size, unsigned most, unsigned rounds, double *times)
{
    struct thread threads[MOST_THREADS];
    for (unsigned i = 0; i < MOST_THREADS; i++)
        threads[i].job = start_job(device, size);
    for (size_t kind = 0; kind < sizeof KINDS / sizeof *KINDS; kind++) {
        if (!makes_sense(&KINDS[kind], size))
            continue;
        for (unsigned count = 1; count <= most; count *= 2) {
            double time = median(threads, count, &KINDS[kind], rounds, times);
            printf("%s_%ux%u %u %.1f\n", KINDS[kind].name, size.width, size.height, count, time);
            fflush(stdout);
            for (unsigned i = 0; i < count; i++) {
                if (KINDS[kind].run == write_part)
                    check(threads[i].job.bo, (struct size){PART, PART}, rounds - 1);
                if (KINDS[kind].run == write_all)
                    check(threads[i].job.bo, size, rounds - 1);
            }
        }
    }
    for (unsigned i = 0; i < MOST_THREADS; i++)
        end_job(&threads[i].job);
}

static void print_ioctls(struct gbm_device *device, struct size size)
{
    enum { COUNTED = 10 };
    struct job job = start_job(device, size);
    for (size_t kind = 0; kind < sizeof KINDS / sizeof *KINDS; kind++) {
        if (!makes_sense(&KINDS[kind], size))
            continue;
        KINDS[kind].run(&job, 0);
        unsigned before = drm_ioctls;
        for (unsigned round = 0; round < COUNTED; round++)
            KINDS[kind].run(&job, round);
        printf("ioctls %s_%ux%u %g\n", KINDS[kind].name, size.width, size.height, (drm_ioctls - before) / (double)COUNTED);
    }
    end_job(&job);
}

int main(int count, char **arguments)
{
    unsigned rounds = count > 2 ? (unsigned)strtoul(arguments[2], NULL, 10) : 51;
    unsigned most = count > 3 ? (unsigned)strtoul(arguments[3], NULL, 10) : MOST_THREADS;
    if (count < 2 || count > 4 || rounds == 0 || most > MOST_THREADS) {
        fprintf(stderr, "usage: %s NODE [ROUNDS [THREADS]]\n", arguments[0]);
        return 2;
    }
    int node = open(arguments[1], O_RDWR | O_CLOEXEC);
    if (node < 0)
        fail("%s", arguments[1]);
    struct gbm_device *device = gbm_create_device(node);
    if (!device)
        fail("gbm_create_device");
    printf("backend %s\n", gbm_device_get_backend_name(device));

    double *times = calloc((size_t)rounds * MOST_THREADS, sizeof *times);
    if (!times)
        fail("%u rounds", rounds);
    for (size_t size = 0; size < sizeof SIZES / sizeof *SIZES; size++)
        print_times(device, SIZES[size], most, rounds, times);
    free(times);
    if (!count_ioctls())
        fail("ioctls are not counted");
    for (size_t size = 0; size < sizeof SIZES / sizeof *SIZES; size++)
        print_ioctls(device, SIZES[size]);

    gbm_device_destroy(device);
    close(node);
    return 0;
}
