/* What minigbm's gbm.h has and Mesa's has not: planes by themselves, its imports, and what a device is. */
#include "program.h"
#include <ctype.h>
#include <minigbm/minigbm_helpers.h>

#define BOTH GBM_BO_TRANSFER_READ_WRITE

static void
pixels_are_bytes(struct gbm_device *gbm)
{
   static const struct { uint32_t format, bytes; } sizes[] = {
      {GBM_FORMAT_XRGB8888, 4}, {GBM_FORMAT_RGB565, 2}, {GBM_FORMAT_R8, 1}, {GBM_FORMAT_ABGR16161616F, 8},
      {GBM_FORMAT_NV12, 1}, {GBM_FORMAT_P010, 2}, {GBM_FORMAT_YUYV, 2},
   };
   for (size_t i = 0; i < COUNT(sizes); i++) {
      struct gbm_bo *bo = create(gbm, 64, 64, sizes[i].format, GBM_BO_USE_TEXTURING);
      CHECK(gbm_bo_get_bpp(bo) == sizes[i].bytes);
      gbm_bo_destroy(bo);
   }
}

/* Every plane has a size and a descriptor, and is mapped where it lies. */
static void
planes(struct gbm_device *gbm, uint32_t format, int count)
{
   struct gbm_bo *bo = create(gbm, 66, 34, format, GBM_BO_USE_TEXTURING | GBM_BO_USE_SW_WRITE_OFTEN | GBM_BO_USE_SW_READ_OFTEN);
   unsigned char *whole;
   void *map_data[5];
   uint32_t stride;
   whole = gbm_bo_map(bo, 0, 0, 66, 34, BOTH, &stride, &map_data[4]);
   CHECK(whole);
   for (int plane = 0; plane < count; plane++) {
      uint32_t rows = plane ? 17 : 34, first = gbm_bo_get_offset(bo, plane);
      CHECK(gbm_bo_get_plane_size(bo, plane) >= gbm_bo_get_stride_for_plane(bo, plane) * rows);
      int fd = gbm_bo_get_plane_fd(bo, plane);
      CHECK(fd >= 0 && lseek(fd, 0, SEEK_END) >= first + gbm_bo_get_plane_size(bo, plane));
      close(fd);

      unsigned char *at = gbm_bo_map2(bo, 0, 0, 66, 34, BOTH, &stride, &map_data[plane], plane);
      CHECK(at == whole + first && stride == gbm_bo_get_stride_for_plane(bo, plane));
      at[(rows - 1) * stride] = 40 + plane;
      CHECK(whole[first + (rows - 1) * stride] == 40 + plane);

      /* A rectangle is in pixels of the picture, whatever the plane. */
      void *inner;
      uint32_t x = plane ? (count == 2 ? 16 : 8) : 16 * gbm_bo_get_bpp(bo);
      CHECK(gbm_bo_map2(bo, 16, 8, 2, 2, BOTH, &stride, &inner, plane) == at + (plane ? 4 : 8) * stride + x);
      gbm_bo_unmap(bo, inner);
      gbm_bo_unmap(bo, map_data[plane]);
   }
   gbm_bo_unmap(bo, map_data[4]);
   enum gbm_bo_map_cache_mode mode = gbm_bo_get_map_info(bo);
   CHECK(mode == GBM_BO_MAP_CACHE_CACHED || mode == GBM_BO_MAP_CACHE_WC);

   const size_t outside[] = {count, 4, INT_MAX, SIZE_MAX, (size_t)1 << 32};
   for (size_t i = 0; i < COUNT(outside); i++) {
      FAILS(gbm_bo_get_plane_size(bo, outside[i]) == 0, EINVAL);
      FAILS(gbm_bo_get_plane_fd(bo, outside[i]) == -1, EINVAL);
   }
   const int beyond[] = {count, 4, -1, INT_MAX, INT_MIN};
   for (size_t i = 0; i < COUNT(beyond); i++)
      FAILS(gbm_bo_map2(bo, 0, 0, 1, 1, BOTH, &stride, &map_data[0], beyond[i]) == NULL, EINVAL);
   FAILS(gbm_bo_map2(bo, 0, 0, 67, 34, BOTH, &stride, &map_data[0], 0) == NULL, EINVAL);
   FAILS(gbm_bo_map2(bo, 0, 0, 0, 1, BOTH, &stride, &map_data[0], 0) == NULL, EINVAL);
   FAILS(gbm_bo_map2(bo, 0, 0, 1, 1, 0, &stride, &map_data[0], 0) == NULL, EINVAL);
   FAILS(gbm_bo_map2(bo, 0, 0, 1, 1, BOTH, NULL, &map_data[0], 0) == NULL, EINVAL);
   FAILS(gbm_bo_map2(bo, 0, 0, 1, 1, BOTH, &stride, NULL, 0) == NULL, EINVAL);
   gbm_bo_destroy(bo);
}

/* One descriptor for all planes, one for each, and the structure from before 2020. */
static void
imports(struct gbm_device *gbm)
{
   struct gbm_bo *bo = create(gbm, 65, 33, GBM_FORMAT_NV12, GBM_BO_USE_TEXTURING), *import;
   int fd = gbm_bo_get_fd(bo);
   CHECK(fd >= 0);
   struct gbm_import_fd_modifier_data data = {65, 33, GBM_FORMAT_NV12, 1, {fd, -1, -1, -1}, {0}, {0}, gbm_bo_get_modifier(bo)};
   struct gbm_import_fd_planar_data planar = {{fd, fd, -1, -1}, 65, 33, GBM_FORMAT_NV12, {0}, {0}, {0}};
   for (int plane = 0; plane < 2; plane++) {
      planar.strides[plane] = data.strides[plane] = gbm_bo_get_stride_for_plane(bo, plane);
      planar.offsets[plane] = data.offsets[plane] = gbm_bo_get_offset(bo, plane);
      planar.format_modifiers[plane] = data.modifier;
   }
   struct { uint32_t kind; void *argument; } kinds[] = {{GBM_BO_IMPORT_FD_MODIFIER, &data}, {GBM_BO_IMPORT_FD_PLANAR, &planar}};
   for (size_t i = 0; i < COUNT(kinds); i++) {
      import = gbm_bo_import(gbm, kinds[i].kind, kinds[i].argument, GBM_BO_USE_TEXTURING);
      CHECK(import && gbm_bo_get_plane_count(import) == 2);
      CHECK(gbm_bo_get_handle(import).u32 == gbm_bo_get_handle(bo).u32);
      CHECK(gbm_bo_get_offset(import, 1) == gbm_bo_get_offset(bo, 1));
      gbm_bo_destroy(import);
   }

#define WRONG(field, value, code)                                                                                      \
   do {                                                                                                                \
      struct gbm_import_fd_planar_data wrong = planar;                                                                 \
      wrong.field = value;                                                                                             \
      FAILS(gbm_bo_import(gbm, GBM_BO_IMPORT_FD_PLANAR, &wrong, 0) == NULL, code);                                     \
   } while (0)
   WRONG(width, 0, EINVAL);
   WRONG(height, UINT32_MAX, EINVAL);
   WRONG(format, 0x3f3f3f3f, EINVAL);
   WRONG(fds[0], -1, EBADF);
   WRONG(fds[1], -1, EBADF);
   WRONG(strides[1], UINT32_MAX, EOVERFLOW);
   WRONG(strides[1], 63, EINVAL);
   WRONG(offsets[1], 0, EINVAL);
   WRONG(offsets[1], INT_MAX, EINVAL);
   WRONG(format_modifiers[1], MOD_TILED, EINVAL);
#undef WRONG
   FAILS(gbm_bo_import(gbm, GBM_BO_IMPORT_FD_PLANAR, NULL, 0) == NULL, EINVAL);
   FAILS(gbm_bo_import(gbm, 0x5506, &data, 0) == NULL, ENOSYS);
   close(fd);
   gbm_bo_destroy(bo);
}

/* The usages of every flag alone, as far as the host has them. */
static void
usages(struct gbm_device *gbm)
{
   int made = 0;
   for (int bit = 0; bit < 20; bit++) {
      uint32_t format = bit == 1 ? GBM_FORMAT_ARGB8888 : GBM_FORMAT_XRGB8888;
      struct gbm_bo *bo = gbm_bo_create(gbm, 64, 64, format, 1u << bit);
      CHECK((bo != NULL) == gbm_device_is_format_supported(gbm, format, 1u << bit));
      made += bo != NULL;
      if (bo)
         gbm_bo_destroy(bo);
   }
   CHECK(made >= 12);
   for (int bit = 20; bit < 32; bit++)
      FAILS(gbm_bo_create(gbm, 64, 64, GBM_FORMAT_XRGB8888, GBM_BO_USE_TEXTURING | 1u << bit) == NULL, EINVAL);
}

static void
what_a_device_is(struct gbm_device *gbm)
{
   struct gbm_device_info info = {~0u, -1, ~0u, ~0u};
   const char *node = getenv("VIRGBM_TEST_NODE");
   int file = memfd_create("file", MFD_CLOEXEC);
   FAILS(gbm_detect_device_info(0, -1, &info) == -EINVAL, EINVAL);
   FAILS(gbm_detect_device_info(0, INT_MAX, &info) == -EINVAL, EINVAL);
   FAILS(gbm_detect_device_info(0, file, &info) == -EINVAL, EINVAL);
   FAILS(gbm_detect_device_info(0, gbm_device_get_fd(gbm), NULL) == -EINVAL, EINVAL);
   FAILS(gbm_detect_device_info_path(0, NULL, &info) == -EINVAL, EINVAL);
   FAILS(gbm_detect_device_info_path(0, "/dev/dri/card", &info) == -EINVAL, EINVAL);
   FAILS(gbm_detect_device_info_path(0, "/dev/dri/renderD191", &info) == -ENOENT, ENOENT);
   FAILS(gbm_detect_device_info_path(0, "/dev/dri/renderD128", NULL) == -EINVAL, EINVAL);
   CHECK(info.dev_type_flags == ~0u && info.dri_node_num == -1);
   close(file);
   if (!node) {
      FAILS(gbm_detect_device_info(0, gbm_device_get_fd(gbm), &info) == -EINVAL, EINVAL);
      return;
   }
   CHECK(gbm_detect_device_info(GBM_DETECT_FLAG_CONNECTED, gbm_device_get_fd(gbm), &info) == 0);
   const char *digits = node + strlen(node);
   while (isdigit(digits[-1]))
      digits--;
   CHECK(info.dri_node_num == atoi(digits) % 128);
   CHECK(info.connectors >= 1 && info.connected <= info.connectors);
   CHECK((info.dev_type_flags & ~GBM_DEV_TYPE_FLAG_3D) == GBM_DEV_TYPE_FLAG_DISPLAY);
   struct gbm_device_info by_path;
   CHECK(gbm_detect_device_info_path(GBM_DETECT_FLAG_CONNECTED, node, &by_path) == 0);
   CHECK(memcmp(&info, &by_path, sizeof info) == 0);
   CHECK(gbm_detect_device_info(0, gbm_device_get_fd(gbm), &info) == 0 && info.connected == 0);
}

static void
the_default_device(void)
{
   int fd = -1;
   FAILS(minigbm_create_default_device(NULL) == NULL, EINVAL);
   struct gbm_device *gbm = minigbm_create_default_device(&fd);
   CHECK(gbm && fd >= 0 && gbm_device_get_fd(gbm) == fd && fcntl(fd, F_GETFD) == FD_CLOEXEC);
   struct gbm_bo *bo = create(gbm, 64, 64, GBM_FORMAT_XRGB8888, GBM_BO_USE_TEXTURING);
   gbm_bo_destroy(bo);
   gbm_device_destroy(gbm);
   CHECK(close(fd) == 0);
}

static void
nulls(void)
{
   uint32_t stride;
   void *map_data;
   FAILS(gbm_bo_get_plane_size(NULL, 0) == 0, EINVAL);
   FAILS(gbm_bo_get_plane_fd(NULL, 0) == -1, EINVAL);
   FAILS(gbm_bo_map2(NULL, 0, 0, 1, 1, BOTH, &stride, &map_data, 0) == NULL, EINVAL);
   FAILS(gbm_bo_get_map_info(NULL) == GBM_BO_MAP_CACHE_WC, EINVAL);
}

/* A buffer begins with its device, and that has the functions of whoever made both. */
static void
strangers(void)
{
   void *device[64] = {NULL}, *words[64] = {device};
   struct gbm_bo *bo = (struct gbm_bo *)words;
   uint32_t stride;
   void *map_data;
   FAILS(gbm_bo_get_plane_size(bo, 0) == 0, EINVAL);
   FAILS(gbm_bo_get_plane_fd(bo, 0) == -1, EINVAL);
   FAILS(gbm_bo_map2(bo, 0, 0, 1, 1, BOTH, &stride, &map_data, 0) == NULL, EINVAL);
   FAILS(gbm_bo_get_map_info(bo) == GBM_BO_MAP_CACHE_WC, EINVAL);
}

static void
test(struct gbm_device *gbm)
{
   pixels_are_bytes(gbm);
   planes(gbm, GBM_FORMAT_XRGB8888, 1);
   planes(gbm, GBM_FORMAT_NV12, 2);
   planes(gbm, GBM_FORMAT_YVU420, 3);
   imports(gbm);
   usages(gbm);
   what_a_device_is(gbm);
   the_default_device();
   nulls();
   strangers();
}
