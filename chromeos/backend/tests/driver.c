/* The driver as minigbm's drv.c uses it: tables, buffers, mappings, and who frees what. */
#include "check.h"
#include "player.h"
#include "virgbm_minigbm.h"

#define FOURCC(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)
#define XRGB8888 FOURCC('X', 'R', '2', '4')
#define XBGR8888 FOURCC('X', 'B', '2', '4')
#define ARGB8888 FOURCC('A', 'R', '2', '4')
#define NV12 FOURCC('N', 'V', '1', '2')
#define YVU420_ANDROID FOURCC('9', '9', '9', '7')
#define FLEX_IMPLEMENTATION_DEFINED FOURCC('9', '9', '9', '8')
#define FLEX_YCBCR_420_888 FOURCC('9', '9', '9', '9')
#define CPU (BO_USE_SW_READ_OFTEN | BO_USE_SW_WRITE_OFTEN)
#define BOTH (BO_MAP_READ | BO_MAP_WRITE)
#define WHOLE(bo) ((struct rectangle){0, 0, (bo)->meta.width, (bo)->meta.height})

/* minigbm has the kernel export its handle; a driver that can is asked where minigbm asks it. */
static int
export(struct bo *bo)
{
#if SHAPE >= 2026
   int fd = bo->drv->backend->bo_get_plane_fd(bo, 0);
   CHECK(fd >= 0 && close(fd) == 0);
   CHECK(bo->drv->backend->bo_export(bo, bo->meta.num_planes) == -EINVAL);
   fd = bo->drv->backend->bo_export(bo, 0);
#else
   int fd = virgbm_export(bo->priv);
#endif
   CHECK(fd >= 0 && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR && fcntl(fd, F_GETFD) == FD_CLOEXEC);
   return fd;
}

static void
supported_can_be_made(struct driver *drv)
{
   static const uint64_t usages[] = {
      BO_USE_TEXTURE, BO_USE_TEXTURE | CPU, BO_USE_LINEAR | BO_USE_TEXTURE, BO_USE_SCANOUT | BO_USE_RENDERING, BO_USE_CURSOR,
      BO_USE_CAMERA_WRITE | BO_USE_CAMERA_READ, BO_USE_HW_VIDEO_DECODER | BO_USE_TEXTURE, BO_USE_PROTECTED, BO_USE_SENSOR_DIRECT_DATA,
   };
   static const uint32_t formats[] = {XRGB8888, XBGR8888, ARGB8888, NV12, YVU420_ANDROID, FOURCC('R', '8', ' ', ' ')};
   int supported = 0;
   CHECK(player_combinations() > 40);
   for (size_t i = 0; i < COUNT(formats); i++) {
      for (size_t j = 0; j < COUNT(usages); j++) {
         struct bo *bo = player_create(drv, 64, 64, formats[i], usages[j]);
         CHECK(!player_supports(drv, formats[i], usages[j]) || bo);
         supported += bo != NULL;
         if (bo)
            player_destroy(bo);
      }
   }
   CHECK(supported > 15);
}

static void
layouts(struct driver *drv)
{
   const uint64_t linear[] = {DRM_FORMAT_MOD_LINEAR}, tiled[] = {MOD_TILED};
   struct bo *bo = player_create(drv, 65, 33, NV12, BO_USE_TEXTURE | CPU);
   CHECK(bo && bo->handle.u32 && bo->meta.num_planes == 2);
   CHECK(bo->meta.strides[0] >= 65 && bo->meta.strides[1] >= 66 && bo->meta.offsets[1] >= bo->meta.strides[0] * 33);
   CHECK(bo->meta.sizes[1] >= bo->meta.strides[1] * 16 + 66);
   CHECK(bo->meta.total_size >= bo->meta.offsets[1] + bo->meta.sizes[1]);
   CHECK(drv->backend->num_planes_from_modifier(drv, NV12, bo->meta.format_modifier) == 2);

   /* A test buffer has the same layout, and nothing else. */
   struct bo *test = player_create(drv, 65, 33, NV12, BO_USE_TEXTURE | CPU | BO_USE_TEST_ALLOC);
   CHECK(test && test->handle.u32 == 0 && test->priv == NULL && test->meta.num_planes == 2);
   CHECK(memcmp(test->meta.strides, bo->meta.strides, sizeof bo->meta.strides) == 0);
   CHECK(memcmp(test->meta.offsets, bo->meta.offsets, sizeof bo->meta.offsets) == 0);
   CHECK(memcmp(test->meta.sizes, bo->meta.sizes, sizeof bo->meta.sizes) == 0);
   player_destroy(test);
   player_destroy(bo);

   bo = player_create_with_modifiers(drv, 64, 64, XRGB8888, linear, 1);
   CHECK(bo && bo->meta.format_modifier == DRM_FORMAT_MOD_LINEAR);
   player_destroy(bo);
   FAILS(player_create_with_modifiers(drv, 64, 64, XRGB8888, tiled, 1) == NULL, ENOSYS);

   bo = player_create(drv, 129, 67, YVU420_ANDROID, BO_USE_LINEAR | CPU);
   CHECK(bo && bo->meta.strides[0] == 160 && bo->meta.strides[1] == 80 && bo->meta.offsets[1] == 160 * 67);
   player_destroy(bo);
}

static void
bad_input(struct driver *drv)
{
   const uint64_t linear[] = {DRM_FORMAT_MOD_LINEAR};
   FAILS(player_open(-1) == NULL, EBADF);
   FAILS(player_create(drv, 0, 64, XRGB8888, BO_USE_TEXTURE) == NULL, EINVAL);
   FAILS(player_create(drv, 64, 0, XRGB8888, BO_USE_TEXTURE) == NULL, EINVAL);
   FAILS(player_create(drv, UINT32_MAX, 64, XRGB8888, BO_USE_TEXTURE) == NULL, EINVAL);
   FAILS(player_create(drv, 64, 64, 0x3f3f3f3f, BO_USE_TEXTURE) == NULL, EINVAL);
   FAILS(player_create(drv, 64, 64, FLEX_YCBCR_420_888, BO_USE_TEXTURE) == NULL, EINVAL);
   FAILS(player_create(drv, 64, 64, XRGB8888, 1ull << 20) == NULL, EINVAL);
   FAILS(player_create(drv, 64, 64, XRGB8888, 1ull << 62) == NULL, EINVAL);
   FAILS(player_create(drv, 64, 64, XRGB8888, BO_USE_PROTECTED | CPU) == NULL, EINVAL);
   FAILS(player_create_with_modifiers(drv, 64, 64, XRGB8888, NULL, 1) == NULL, EINVAL);
   FAILS(player_create_with_modifiers(drv, 64, 64, XRGB8888, linear, 0) == NULL, EINVAL);

   struct virgbm_combination combination;
   struct virgbm_layout layout;
   struct virgbm_request request = {64, 64, XRGB8888, BO_USE_TEXTURE, NULL, 0};
   struct virgbm_import import = {64, 64, XRGB8888, 0, BO_USE_TEXTURE, 5, {0}, {0}, {0}};
   struct virgbm_buffer *buffer;
   struct virgbm_view *view;
   uint32_t handle;
   bool cached;
   uint64_t use_flags = 1ull << 20;
   size_t length;
   virgbm_close(NULL);
   virgbm_release(NULL);
   FAILS(virgbm_get_combination(NULL, 0, &combination) == -EINVAL, EINVAL);
   FAILS(virgbm_get_combination(drv->priv, 0, NULL) == -EINVAL, EINVAL);
   FAILS(virgbm_get_combination(drv->priv, SIZE_MAX, &combination) == -ENOENT, ENOENT);
   FAILS(virgbm_get_num_planes(NULL, XRGB8888, 0) == 0, EINVAL);
   CHECK(virgbm_get_num_planes(drv->priv, 0x3f3f3f3f, 0) == 0);
   CHECK(virgbm_get_num_planes(drv->priv, NV12, MOD_TILED) == 2);
   FAILS(virgbm_get_largest_side(NULL) == 0, EINVAL);
   FAILS(virgbm_resolve(drv->priv, NULL, &use_flags) == -EINVAL, EINVAL);
   FAILS(virgbm_resolve(drv->priv, &(uint32_t){XRGB8888}, &use_flags) == -EINVAL, EINVAL);
   FAILS(virgbm_compute_layout(drv->priv, NULL, &layout) == -EINVAL, EINVAL);
   FAILS(virgbm_compute_layout(drv->priv, &request, NULL) == -EINVAL, EINVAL);
   FAILS(virgbm_create(drv->priv, &request, &layout, NULL, &buffer) == -EINVAL, EINVAL);
   FAILS(virgbm_create(drv->priv, &request, &layout, &handle, NULL) == -EINVAL, EINVAL);
   FAILS(virgbm_import(drv->priv, &import, &cached, &handle, &buffer) == -EINVAL, EINVAL);
   FAILS(virgbm_import(drv->priv, &import, NULL, &handle, &buffer) == -EINVAL, EINVAL);
   FAILS(virgbm_import(drv->priv, NULL, &cached, &handle, &buffer) == -EINVAL, EINVAL);
   FAILS(virgbm_export(NULL) == -EINVAL, EINVAL);
   FAILS(virgbm_map(NULL, BOTH, &length, &view) == MAP_FAILED, EINVAL);
   FAILS(virgbm_unmap(NULL) == -EINVAL, EINVAL);
   FAILS(virgbm_begin(NULL, NULL, 0, 0, 1, 1) == -EINVAL, EINVAL);
   FAILS(virgbm_end(NULL, NULL, 0, 0, 1, 1, false) == -EINVAL, EINVAL);

   struct bo *bo = player_create(drv, 64, 64, XRGB8888, BO_USE_TEXTURE | CPU);
   CHECK(bo);
   FAILS(virgbm_map(bo->priv, 0, &length, &view) == MAP_FAILED, EINVAL);
   FAILS(virgbm_map(bo->priv, 4, &length, &view) == MAP_FAILED, EINVAL);
   FAILS(virgbm_map(bo->priv, BOTH, NULL, &view) == MAP_FAILED, EINVAL);
   CHECK(virgbm_map(bo->priv, BOTH, &length, &view) != MAP_FAILED && length >= 64 * 64 * 4);
   FAILS(virgbm_begin(view, NULL, 0, 0, 1, 1) == -EINVAL, EINVAL);
   FAILS(virgbm_end(view, NULL, 0, 0, 1, 1, true) == -EINVAL, EINVAL);
   FAILS(virgbm_begin(view, bo->priv, 0, 0, 65, 64) == -EINVAL, EINVAL);
   FAILS(virgbm_end(view, bo->priv, UINT32_MAX, 0, 2, 1, true) == -EINVAL, EINVAL);
   FAILS(virgbm_end(view, bo->priv, 0, 0, 0, 1, true) == -EINVAL, EINVAL);
   CHECK(virgbm_unmap(view) == 0);
   player_destroy(bo);
}

/* What is written is in the exported buffer, and a rectangle of it comes back. */
static void
mappings(struct driver *drv)
{
   struct bo *bo = player_create(drv, 100, 50, XRGB8888, BO_USE_TEXTURE | CPU);
   struct mapping *whole, *part, *again;
   CHECK(bo);
   char *pixels = player_map(bo, WHOLE(bo), BOTH, &whole);
   CHECK(pixels != MAP_FAILED);
   for (uint32_t y = 0; y < 50; y++)
      for (uint32_t x = 0; x < 100; x++)
         ((uint32_t *)(pixels + y * bo->meta.strides[0]))[x] = y << 16 | x;
   CHECK(player_flush(bo, whole) == 0);
   CHECK(player_map(bo, (struct rectangle){17, 23, 5, 4}, BOTH, &part) == pixels && player_vmas() == 1);
   CHECK(((uint32_t *)(pixels + 23 * bo->meta.strides[0]))[17] == (23 << 16 | 17));
   /* Another access is another view of the same bytes. */
   CHECK(player_map(bo, WHOLE(bo), BO_MAP_WRITE, &again) == pixels && player_vmas() == 2);
   CHECK(player_unmap(bo, again) == 0 && player_unmap(bo, part) == 0 && player_vmas() == 1);
   CHECK(player_unmap(bo, whole) == 0 && player_vmas() == 0);

   int fd = export(bo);
   size_t size = lseek(fd, 0, SEEK_END);
   char *seen = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
   CHECK(seen != MAP_FAILED && ((uint32_t *)(seen + 49 * bo->meta.strides[0]))[99] == (49 << 16 | 99));
   munmap(seen, size);
   close(fd);

   /* What stays mapped goes with the buffer. */
   CHECK(player_map(bo, WHOLE(bo), BOTH, &whole) == pixels && player_flush(bo, whole) == 0);
   player_destroy(bo);
   CHECK(player_vmas() == 0);
}

/* A vma that was made for one buffer serves its import when the first has gone. */
static void
imports(struct driver *drv)
{
   struct bo *bo = player_create(drv, 65, 33, NV12, BO_USE_TEXTURE | CPU);
   struct mapping *mapping, *other;
   CHECK(bo);
   unsigned char *bytes = player_map(bo, WHOLE(bo), BOTH, &mapping);
   CHECK(bytes != MAP_FAILED);
   bytes[bo->meta.offsets[1]] = 77;
   CHECK(player_flush(bo, mapping) == 0);

   int fd = export(bo);
   struct drv_import_fd_data data = {
      .fds = {fd, fd, -1, -1}, .width = 65, .height = 33, .format = NV12, .format_modifier = bo->meta.format_modifier,
      .use_flags = BO_USE_TEXTURE,
   };
   memcpy(data.strides, bo->meta.strides, sizeof data.strides);
   memcpy(data.offsets, bo->meta.offsets, sizeof data.offsets);
   struct bo *import = player_import(drv, &data, 2);
   CHECK(import && import->handle.u32 == bo->handle.u32);
   player_destroy(bo);
   CHECK(player_map(import, WHOLE(import), BOTH, &other) == bytes && player_vmas() == 1);
   CHECK(bytes[import->meta.offsets[1]] == 77);
   player_destroy(import);
   CHECK(player_vmas() == 0);

   /* minigbm's own IMPORT_FD leaves the other planes' descriptors at 0: nothing is imported, no handle closed. */
   bo = player_create(drv, 65, 33, NV12, BO_USE_TEXTURE | CPU);
   struct drv_import_fd_data wrong = data;
   wrong.fds[0] = export(bo);
   wrong.fds[1] = 0;
   FAILS(player_import(drv, &wrong, 2) == NULL, EINVAL);
   wrong.fds[1] = -1;
   FAILS(player_import(drv, &wrong, 2) == NULL, EBADF);
   wrong.fds[1] = wrong.fds[0];
   wrong.offsets[1] = 0;
   FAILS(player_import(drv, &wrong, 2) == NULL, EINVAL);
   wrong.offsets[1] = UINT32_MAX;
   FAILS(player_import(drv, &wrong, 2) == NULL, EOVERFLOW);
   wrong.offsets[1] = data.offsets[1];
   wrong.height = 4096;
   FAILS(player_import(drv, &wrong, 2) == NULL, EINVAL);
   CHECK(player_map(bo, WHOLE(bo), BOTH, &mapping) != MAP_FAILED);
   close(wrong.fds[0]);
   close(fd);
   player_destroy(bo);
}

static void
what_is_left_open_is_resolved(struct driver *drv)
{
   uint32_t format;
   uint64_t flags;
   drv->backend->resolve_format_and_use_flags(drv, FLEX_IMPLEMENTATION_DEFINED, BO_USE_CAMERA_WRITE, &format, &flags);
   CHECK(format == NV12 && flags == BO_USE_CAMERA_WRITE);
   drv->backend->resolve_format_and_use_flags(drv, FLEX_IMPLEMENTATION_DEFINED, BO_USE_TEXTURE | BO_USE_HW_VIDEO_ENCODER, &format,
                                              &flags);
   CHECK(format == XBGR8888 && (flags & ~BO_USE_LINEAR) == BO_USE_TEXTURE);
   drv->backend->resolve_format_and_use_flags(drv, FLEX_YCBCR_420_888, BO_USE_TEXTURE, &format, &flags);
   CHECK(player_supports(drv, format, flags));
   drv->backend->resolve_format_and_use_flags(drv, YVU420_ANDROID, BO_USE_SCANOUT | BO_USE_TEXTURE, &format, &flags);
   CHECK(format == YVU420_ANDROID && flags == (BO_USE_LINEAR | BO_USE_TEXTURE));
   drv->backend->resolve_format_and_use_flags(drv, XRGB8888, BO_USE_SCANOUT | BO_USE_RENDERING, &format, &flags);
   CHECK(player_supports(drv, format, flags));
   /* What is not known stays as it is, to be refused. */
   drv->backend->resolve_format_and_use_flags(drv, XRGB8888, 1ull << 20, &format, &flags);
   CHECK(format == XRGB8888 && flags == 1ull << 20);
   CHECK(drv->backend->get_max_texture_2d_size(drv) >= 4096);
}

#define THREADS 4

static void *
work(void *argument)
{
   struct driver *drv = argument;
   for (int round = 0; round < 50; round++) {
      struct mapping *mapping;
      struct bo *bo = player_create(drv, 33 + round, 17, XRGB8888, BO_USE_TEXTURE | CPU);
      CHECK(bo);
      unsigned char *pixels = player_map(bo, WHOLE(bo), BOTH, &mapping);
      CHECK(pixels != MAP_FAILED);
      memset(pixels, round, 64);
      CHECK(player_flush(bo, mapping) == 0);
      player_destroy(bo);
   }
   return NULL;
}

static void
threads(struct driver *drv)
{
   pthread_t threads[THREADS];
   for (int i = 0; i < THREADS; i++)
      CHECK(pthread_create(&threads[i], NULL, work, drv) == 0);
   for (int i = 0; i < THREADS; i++)
      CHECK(pthread_join(threads[i], NULL) == 0);
   CHECK(player_vmas() == 0);
}

int
main(void)
{
   int before = count_fds(), fd = open_node(), file = memfd_create("file", MFD_CLOEXEC);
   struct driver *drv = player_open(fd), *other = player_open(fd);
   CHECK(drv && other);
   player_close(other);
   CHECK(getenv("VIRGBM_LOOPBACK") || player_open(file) == NULL);
   close(file);
   supported_can_be_made(drv);
   layouts(drv);
   bad_input(drv);
   mappings(drv);
   imports(drv);
   what_is_left_open_is_resolved(drv);
   threads(drv);
   player_close(drv);
   CHECK(fcntl(fd, F_GETFD) >= 0);
   close(fd);
   CHECK(count_fds() == before);
   return 0;
}
