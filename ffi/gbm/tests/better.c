/* What users of gbm trip over, a check each, whichever library is loaded: prints `check | ok` or `check | fails: why`.
 *
 * Every check has a process and a device of its own, so that a crash is a result. Succeeds when all of them do. */
#include "check.h"
#include "formats.h"
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

#define BOTH GBM_BO_TRANSFER_READ_WRITE
#define SHOWN (GBM_BO_USE_SCANOUT | GBM_BO_USE_RENDERING)
#define LIMIT_SECONDS 20

/* Where a check tells why it fails. */
static int told;

static void fails(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void
fails(const char *format, ...)
{
   va_list arguments;
   va_start(arguments, format);
   vdprintf(told, format, arguments);
   va_end(arguments);
   _exit(1);
}

#define EXPECT(condition, ...)                                                                                         \
   do {                                                                                                                \
      if (!(condition))                                                                                                \
         fails(__VA_ARGS__);                                                                                           \
   } while (0)

static const char *
error(void)
{
   return errno ? strerrorname_np(errno) : "errno 0";
}

/* A buffer that a check needs: where there is none, the check fails by that. */
static struct gbm_bo *
made(struct gbm_bo *bo)
{
   EXPECT(bo, "no buffer, %s", error());
   return bo;
}

static struct gbm_bo *
create(struct gbm_device *gbm, uint32_t width, uint32_t height, uint32_t format, uint32_t flags)
{
   errno = 0;
   return made(gbm_bo_create(gbm, width, height, format, flags));
}

static int
exported(struct gbm_bo *bo)
{
   errno = 0;
   int fd = gbm_bo_get_fd(bo);
   EXPECT(fd >= 0, "no export, %s", error());
   return fd;
}

static void
a_buffer(struct gbm_device *gbm)
{
   create(gbm, 64, 64, GBM_FORMAT_XRGB8888, GBM_BO_USE_RENDERING);
}

static void
small_formats(struct gbm_device *gbm)
{
   static const uint32_t formats[] = {GBM_FORMAT_RGB565, GBM_FORMAT_R8, GBM_FORMAT_GR88};
   for (size_t i = 0; i < COUNT(formats); i++) {
      errno = 0;
      EXPECT(gbm_bo_create(gbm, 64, 64, formats[i], GBM_BO_USE_RENDERING), "%.4s: %s", (const char *)&formats[i], error());
   }
}

static void
supported_can_be_made(struct gbm_device *gbm)
{
   static const uint32_t flags[] = {
      0, GBM_BO_USE_SCANOUT, GBM_BO_USE_RENDERING, SHOWN, GBM_BO_USE_LINEAR, GBM_BO_USE_WRITE,
      GBM_BO_USE_CURSOR | GBM_BO_USE_WRITE,
   };
   int claims = 0, refused = 0;
   const struct format *first = NULL;
   for (size_t i = 0; i < COUNT(FORMATS); i++) {
      for (size_t j = 0; j < COUNT(flags); j++) {
         if (!gbm_device_is_format_supported(gbm, FORMATS[i].fourcc, flags[j]))
            continue;
         claims++;
         struct gbm_bo *bo = gbm_bo_create(gbm, 64, 64, FORMATS[i].fourcc, flags[j]);
         if (bo)
            gbm_bo_destroy(bo);
         else if (refused++ == 0)
            first = &FORMATS[i];
      }
   }
   EXPECT(claims > 0, "nothing is supported");
   EXPECT(refused == 0, "%d of %d refused, %.4s first", refused, claims, (const char *)&first->fourcc);
}

static void
yuv(struct gbm_device *gbm)
{
   struct gbm_bo *bo = create(gbm, 64, 64, GBM_FORMAT_NV12, 0);
   EXPECT(gbm_bo_get_plane_count(bo) == 2, "%d planes", gbm_bo_get_plane_count(bo));
   uint32_t offset = gbm_bo_get_offset(bo, 1), stride = gbm_bo_get_stride_for_plane(bo, 1);
   EXPECT(offset >= 64 * 64 && stride >= 64, "chroma at %u with stride %u", offset, stride);
   struct gbm_import_fd_modifier_data data = {64, 64, GBM_FORMAT_NV12, 2, {0}, {0}, {0}, gbm_bo_get_modifier(bo)};
   for (int plane = 0; plane < 2; plane++) {
      data.fds[plane] = gbm_bo_get_fd_for_plane(bo, plane);
      data.strides[plane] = gbm_bo_get_stride_for_plane(bo, plane);
      data.offsets[plane] = gbm_bo_get_offset(bo, plane);
   }
   errno = 0;
   EXPECT(gbm_bo_import(gbm, GBM_BO_IMPORT_FD_MODIFIER, &data, 0), "no import, %s", error());
}

static void
packed_rows(struct gbm_device *gbm)
{
   uint32_t stride = gbm_bo_get_stride(create(gbm, 1366, 64, GBM_FORMAT_XRGB8888, SHOWN));
   EXPECT(stride - 1366 * 4 < 64, "%u bytes for %u", stride, 1366 * 4);
}

static void
invalid_alone(struct gbm_device *gbm)
{
   const uint64_t invalid = MOD_INVALID;
   errno = 0;
   struct gbm_bo *bo = gbm_bo_create_with_modifiers2(gbm, 64, 64, GBM_FORMAT_XRGB8888, &invalid, 1, SHOWN);
   EXPECT(bo || errno, "no buffer, %s", error());
}

static void
linear_is_told(struct gbm_device *gbm)
{
   const uint64_t linear = MOD_LINEAR;
   errno = 0;
   struct gbm_bo *bo = made(gbm_bo_create_with_modifiers2(gbm, 64, 64, GBM_FORMAT_XRGB8888, &linear, 1, SHOWN));
   EXPECT(gbm_bo_get_modifier(bo) == MOD_LINEAR, "tells %#llx", (unsigned long long)gbm_bo_get_modifier(bo));
}

/* Where the host chose, LINEAR is told only when the rows of the descriptor are those of the mapping. */
static void
implicit_is_true(struct gbm_device *gbm)
{
   struct gbm_bo *bo = create(gbm, 100, 50, GBM_FORMAT_XRGB8888, SHOWN);
   if (gbm_bo_get_modifier(bo) != MOD_LINEAR)
      return;
   uint32_t map_stride, stride = gbm_bo_get_stride(bo);
   void *map_data = NULL;
   char *pixels = gbm_bo_map(bo, 0, 0, 100, 50, GBM_BO_TRANSFER_WRITE, &map_stride, &map_data);
   EXPECT(pixels, "no mapping, %s", error());
   for (uint32_t y = 0; y < 50; y++)
      memset(pixels + y * map_stride, y + 1, 400);
   gbm_bo_unmap(bo, map_data);
   char *seen = mmap(NULL, stride * 50, PROT_READ, MAP_SHARED, exported(bo), 0);
   EXPECT(seen != MAP_FAILED, "no mmap, %s", error());
   for (uint32_t y = 0; y < 50; y++)
      EXPECT(seen[y * stride] == (char)(y + 1) && seen[y * stride + 399] == (char)(y + 1), "row %u is elsewhere", y);
}

static void
exports_for_writing(struct gbm_device *gbm)
{
   int fd = exported(create(gbm, 64, 64, GBM_FORMAT_XRGB8888, SHOWN));
   EXPECT((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR, "read only");
   /* The whole: the kernel maps no part of a host's memory. */
   size_t size = lseek(fd, 0, SEEK_END);
   EXPECT(mmap(NULL, size, PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED, "no mmap for writing, %s", error());
}

static void
cursors_are_exported(struct gbm_device *gbm)
{
   exported(create(gbm, 64, 64, GBM_FORMAT_ARGB8888, GBM_BO_USE_CURSOR | GBM_BO_USE_WRITE));
}

static void
imports_share_a_handle(struct gbm_device *gbm)
{
   struct gbm_bo *bo = create(gbm, 64, 64, GBM_FORMAT_XRGB8888, SHOWN);
   struct gbm_import_fd_data data = {exported(bo), 64, 64, gbm_bo_get_stride(bo), GBM_FORMAT_XRGB8888};
   /* One handle for all of them, so that only the last may close it. */
   for (int i = 0; i < 2; i++)
      gbm_bo_destroy(made(gbm_bo_import(gbm, GBM_BO_IMPORT_FD, &data, 0)));
   struct gbm_bo *import = made(gbm_bo_import(gbm, GBM_BO_IMPORT_FD, &data, 0));
   gbm_bo_destroy(bo);
   EXPECT(gbm_bo_get_fd(import) >= 0, "the import went with the buffer, %s", error());
}

static void
mappings(struct gbm_device *gbm)
{
   struct gbm_bo *bo = create(gbm, 64, 64, GBM_FORMAT_XRGB8888, SHOWN);
   for (int i = 0; i < 2; i++) {
      uint32_t stride;
      void *map_data = NULL;
      errno = 0;
      uint32_t *pixels = gbm_bo_map(bo, 0, 0, 64, 64, BOTH, &stride, &map_data);
      EXPECT(pixels, "no mapping, %s", error());
      EXPECT(i == 0 || pixels[63] == 0x123456, "what was written is lost");
      pixels[63] = 0x123456;
      gbm_bo_unmap(bo, map_data);
   }
}

/* `map_data` is where the library answers; nothing says that it must be NULL before. */
static void
mappings_do_not_ask(struct gbm_device *gbm)
{
   uint32_t stride;
   void *map_data = &stride;
   struct gbm_bo *bo = create(gbm, 64, 64, GBM_FORMAT_XRGB8888, SHOWN);
   errno = 0;
   EXPECT(gbm_bo_map(bo, 0, 0, 64, 64, BOTH, &stride, &map_data), "no mapping, %s", error());
}

static void
mappings_nest(struct gbm_device *gbm)
{
   uint32_t stride, inner_stride;
   void *map_data = NULL, *inner_data = NULL;
   struct gbm_bo *bo = create(gbm, 64, 64, GBM_FORMAT_XRGB8888, SHOWN);
   uint32_t *outer = gbm_bo_map(bo, 0, 0, 64, 64, BOTH, &stride, &map_data);
   EXPECT(outer, "no mapping, %s", error());
   outer[8 * stride / 4 + 8] = 0xabcdef;
   uint32_t *inner = gbm_bo_map(bo, 8, 8, 8, 8, BOTH, &inner_stride, &inner_data);
   EXPECT(inner, "no second mapping, %s", error());
   EXPECT(*inner == 0xabcdef, "the inner one is another place, or older");
   gbm_bo_unmap(bo, map_data);
   *inner = 0x111111;
   gbm_bo_unmap(bo, inner_data);
   map_data = NULL;
   outer = gbm_bo_map(bo, 8, 8, 1, 1, GBM_BO_TRANSFER_READ, &stride, &map_data);
   EXPECT(outer && *outer == 0x111111, "what the inner one wrote is lost");
}

static void
mappings_have_bounds(struct gbm_device *gbm)
{
   uint32_t stride;
   struct gbm_bo *bo = create(gbm, 64, 64, GBM_FORMAT_XRGB8888, SHOWN);
   static const uint32_t outside[][4] = {{0, 0, 65, 64}, {0, 0, 64, 65}, {60, 60, 64, 64}, {0, 0, 0, 1}};
   for (size_t i = 0; i < COUNT(outside); i++) {
      const uint32_t *at = outside[i];
      void *map_data = NULL;
      errno = 0;
      EXPECT(!gbm_bo_map(bo, at[0], at[1], at[2], at[3], BOTH, &stride, &map_data), "maps %ux%u at %u, %u of 64x64", at[2],
             at[3], at[0], at[1]);
   }
}

static void
writes_have_bounds(struct gbm_device *gbm)
{
   enum { LARGE = 4 << 20 };
   static char data[LARGE];
   struct gbm_bo *bo = create(gbm, 64, 64, GBM_FORMAT_ARGB8888, GBM_BO_USE_CURSOR | GBM_BO_USE_WRITE);
   errno = 0;
   EXPECT(gbm_bo_write(bo, data, 64 * 64 * 4) == 0, "does not write, %s", error());
   EXPECT(gbm_bo_write(bo, data, LARGE) != 0, "writes 4 MiB into 16 KiB");
}

/* A right import, in which a check makes one thing wrong. */
static struct gbm_import_fd_modifier_data
importable(struct gbm_device *gbm)
{
   struct gbm_bo *bo = create(gbm, 64, 64, GBM_FORMAT_XRGB8888, SHOWN);
   return (struct gbm_import_fd_modifier_data){
      64, 64, GBM_FORMAT_XRGB8888, 1, {exported(bo)}, {gbm_bo_get_stride(bo)}, {0}, gbm_bo_get_modifier(bo)};
}

static void
is_refused(struct gbm_device *gbm, struct gbm_import_fd_modifier_data data, const char *what)
{
   errno = 0;
   EXPECT(!gbm_bo_import(gbm, GBM_BO_IMPORT_FD_MODIFIER, &data, 0), "imports %s", what);
   EXPECT(errno, "%s: errno 0", what);
}

static void
imports_have_room(struct gbm_device *gbm)
{
   struct gbm_import_fd_modifier_data right = importable(gbm), data = right;
   data.height = 4096;
   is_refused(gbm, data, "4096 rows of 64");
   data = right, data.strides[0] = 64;
   is_refused(gbm, data, "rows of 64 bytes for 64 pixels");
   data = right, data.offsets[0] = 1 << 20;
   is_refused(gbm, data, "what lies behind the end");
}

static void
imports_do_not_overflow(struct gbm_device *gbm)
{
   struct gbm_import_fd_modifier_data right = importable(gbm), data = right;
   data.height = 1 << 24, data.strides[0] = 1 << 10;
   is_refused(gbm, data, "16 GiB, which is 0 in 32 bits");
   data = right, data.strides[0] = -256;
   is_refused(gbm, data, "a negative stride");
   data = right, data.offsets[0] = INT_MAX;
   is_refused(gbm, data, "an offset of 2 GiB");
}

static void
imports_count_planes(struct gbm_device *gbm)
{
   struct gbm_import_fd_modifier_data right = importable(gbm), data = right;
   data.num_fds = 2, data.fds[1] = data.fds[0], data.strides[1] = data.strides[0];
   is_refused(gbm, data, "2 planes of XRGB8888");
   data = right, data.num_fds = 5;
   is_refused(gbm, data, "5 planes");
   data = right, data.num_fds = 0;
   is_refused(gbm, data, "no planes");
}

static void
errno_is_set(struct gbm_device *gbm)
{
   const uint64_t tiled = MOD_TILED;
   struct gbm_import_fd_data data = {-1, 64, 64, 256, GBM_FORMAT_XRGB8888};
   struct gbm_bo *bo = create(gbm, 64, 64, GBM_FORMAT_XRGB8888, SHOWN);
   /* What works all the same is another check's. */
#define HAS_ERRNO(failed)                                                                                              \
   do {                                                                                                                \
      errno = 0;                                                                                                       \
      const char *call = #failed + (*#failed == '!');                                                                  \
      EXPECT(!(failed) || errno, "errno 0 of %.*s", (int)strcspn(call, "("), call);                                    \
   } while (0)
   HAS_ERRNO(!gbm_bo_create(gbm, 0, 64, GBM_FORMAT_XRGB8888, 0));
   HAS_ERRNO(!gbm_bo_create(gbm, 64, 64, 0x3f3f3f3f, 0));
   HAS_ERRNO(!gbm_bo_create(gbm, UINT32_MAX, 64, GBM_FORMAT_XRGB8888, 0));
   HAS_ERRNO(!gbm_bo_create(gbm, 64, 64, GBM_FORMAT_NV12, GBM_BO_USE_CURSOR));
   HAS_ERRNO(!gbm_bo_create_with_modifiers2(gbm, 64, 64, GBM_FORMAT_XRGB8888, &tiled, 1, SHOWN));
   HAS_ERRNO(!gbm_bo_create_with_modifiers2(gbm, 64, 64, GBM_FORMAT_XRGB8888, NULL, 1, SHOWN));
   HAS_ERRNO(!gbm_bo_import(gbm, GBM_BO_IMPORT_FD, &data, 0));
   HAS_ERRNO(!gbm_bo_import(gbm, 0x5500, &data, 0));
   HAS_ERRNO(gbm_bo_get_fd_for_plane(bo, 3) < 0);
   HAS_ERRNO(gbm_bo_get_handle_for_plane(bo, 3).s32 == -1);
   HAS_ERRNO(gbm_bo_get_stride_for_plane(bo, 3) == 0);
   HAS_ERRNO(gbm_bo_write(bo, NULL, 1) != 0);
   HAS_ERRNO(gbm_device_get_format_modifier_plane_count(gbm, GBM_FORMAT_XRGB8888, MOD_TILED) == -1);
   HAS_ERRNO(!gbm_surface_create(gbm, 64, 64, 0x3f3f3f3f, SHOWN));
#undef HAS_ERRNO
}

static struct gbm_surface *
surface(struct gbm_device *gbm)
{
   errno = 0;
   struct gbm_surface *surface = gbm_surface_create(gbm, 64, 64, GBM_FORMAT_XRGB8888, SHOWN);
   EXPECT(surface, "no surface, %s", error());
   return surface;
}

static void
free_buffers_without_egl(struct gbm_device *gbm)
{
   EXPECT(gbm_surface_has_free_buffers(surface(gbm)) == 0, "has buffers from nowhere");
}

static void
front_buffer_without_egl(struct gbm_device *gbm)
{
   EXPECT(!gbm_surface_lock_front_buffer(surface(gbm)), "has a buffer from nowhere");
}

static const struct point {
   const char *name;
   void (*check)(struct gbm_device *gbm);
} POINTS[] = {
   {"a buffer on this node", a_buffer},
   {"RGB565, R8 and GR88", small_formats},
   {"supported means that it can be made", supported_can_be_made},
   {"NV12 with its two planes", yuv},
   {"1366 pixels are not padded to 5632 bytes", packed_rows},
   {"{INVALID} alone works or has an errno", invalid_alone},
   {"{LINEAR} is told as LINEAR", linear_is_told},
   {"what the host chose is not called LINEAR falsely", implicit_is_true},
   {"exports are for writing", exports_for_writing},
   {"cursors that are written can be exported", cursors_are_exported},
   {"an import outlives its buffer", imports_share_a_handle},
   {"imports too small are refused", imports_have_room},
   {"imports that overflow are refused", imports_do_not_overflow},
   {"imports of other planes are refused", imports_count_planes},
   {"mappings keep what was written", mappings},
   {"map_data need not be NULL", mappings_do_not_ask},
   {"mappings nest", mappings_nest},
   {"mappings beyond the buffer are refused", mappings_have_bounds},
   {"writes beyond the buffer are refused", writes_have_bounds},
   {"every failure has an errno", errno_is_set},
   {"has_free_buffers without EGL", free_buffers_without_egl},
   {"lock_front_buffer without EGL", front_buffer_without_egl},
};

static void
run(const struct point *point)
{
   const char *node = getenv("VIRGBM_TEST_NODE");
   /* What a library prints of its own is not the result. */
   dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
   alarm(LIMIT_SECONDS);
   int fd = open(node ? node : "/dev/null", O_RDWR | O_CLOEXEC);
   EXPECT(fd >= 0, "no node, %s", error());
   struct gbm_device *gbm = gbm_create_device(fd);
   EXPECT(gbm, "no device, %s", error());
   point->check(gbm);
   _exit(0);
}

int
main(void)
{
   int failed = 0;
   for (size_t i = 0; i < COUNT(POINTS); i++) {
      int ends[2], status;
      char why[200] = "";
      CHECK(pipe2(ends, O_CLOEXEC) == 0);
      pid_t child = fork();
      CHECK(child >= 0);
      if (child == 0) {
         told = ends[1];
         run(&POINTS[i]);
      }
      close(ends[1]);
      CHECK(waitpid(child, &status, 0) == child);
      CHECK(read(ends[0], why, sizeof why - 1) >= 0);
      close(ends[0]);
      if (WIFSIGNALED(status))
         printf("%s | fails: SIG%s\n", POINTS[i].name, sigabbrev_np(WTERMSIG(status)));
      else if (status)
         printf("%s | fails: %s\n", POINTS[i].name, why);
      else
         printf("%s | ok\n", POINTS[i].name);
      fflush(stdout);
      failed += status != 0;
   }
   return failed != 0;
}
