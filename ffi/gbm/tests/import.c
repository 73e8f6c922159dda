/* Exports and imports: the same bytes, the same handle, and what does not fit is refused. */
#include "program.h"

static void
fill(struct gbm_bo *bo, int seed)
{
   uint32_t stride, width = gbm_bo_get_width(bo), height = gbm_bo_get_height(bo);
   void *map_data;
   unsigned char *pixels = gbm_bo_map(bo, 0, 0, width, height, GBM_BO_TRANSFER_WRITE, &stride, &map_data);
   CHECK(pixels);
   for (uint32_t y = 0; y < height; y++)
      memset(pixels + y * stride, seed + y, width);
   gbm_bo_unmap(bo, map_data);
}

static void
is_filled(struct gbm_bo *bo, int seed)
{
   uint32_t stride, width = gbm_bo_get_width(bo), height = gbm_bo_get_height(bo);
   void *map_data;
   unsigned char *pixels = gbm_bo_map(bo, 0, 0, width, height, GBM_BO_TRANSFER_READ, &stride, &map_data);
   CHECK(pixels);
   for (uint32_t y = 0; y < height; y++)
      CHECK(pixels[y * stride] == (unsigned char)(seed + y));
   gbm_bo_unmap(bo, map_data);
}

static struct gbm_import_fd_data
exported(struct gbm_bo *bo)
{
   struct gbm_import_fd_data data = {
      gbm_bo_get_fd(bo), gbm_bo_get_width(bo), gbm_bo_get_height(bo), gbm_bo_get_stride(bo), gbm_bo_get_format(bo),
   };
   CHECK(data.fd >= 0);
   return data;
}

static struct gbm_import_fd_modifier_data
exported_planes(struct gbm_bo *bo)
{
   struct gbm_import_fd_modifier_data data = {0};
   data.width = gbm_bo_get_width(bo);
   data.height = gbm_bo_get_height(bo);
   data.format = gbm_bo_get_format(bo);
   data.modifier = gbm_bo_get_modifier(bo);
   data.num_fds = gbm_bo_get_plane_count(bo);
   for (uint32_t plane = 0; plane < data.num_fds; plane++) {
      data.fds[plane] = gbm_bo_get_fd_for_plane(bo, plane);
      data.strides[plane] = gbm_bo_get_stride_for_plane(bo, plane);
      data.offsets[plane] = gbm_bo_get_offset(bo, plane);
      CHECK(data.fds[plane] >= 0);
   }
   return data;
}

static void
close_planes(const struct gbm_import_fd_modifier_data *data)
{
   for (uint32_t plane = 0; plane < data->num_fds; plane++)
      CHECK(close(data->fds[plane]) == 0);
}

/* The buffer goes, its import stays; one file has one handle for both. */
static void
one_plane(struct gbm_device *gbm, struct gbm_device *into)
{
   struct gbm_bo *bo = create(gbm, 100, 50, GBM_FORMAT_XRGB8888, GBM_BO_USE_SCANOUT);
   fill(bo, 3);
   struct gbm_import_fd_data data = exported(bo);
   struct gbm_bo *import = gbm_bo_import(into, GBM_BO_IMPORT_FD, &data, GBM_BO_USE_SCANOUT);
   CHECK(import);
   CHECK(gbm != into || gbm_bo_get_handle(import).u32 == gbm_bo_get_handle(bo).u32);
   CHECK(gbm_bo_get_width(import) == 100 && gbm_bo_get_height(import) == 50);
   CHECK(gbm_bo_get_stride(import) == data.stride && gbm_bo_get_format(import) == GBM_FORMAT_XRGB8888);
   CHECK(gbm_bo_get_modifier(import) == gbm_bo_get_modifier(bo) && gbm_bo_get_device(import) == into);
   struct gbm_bo *twin = gbm_bo_import(into, GBM_BO_IMPORT_FD, &data, 0);
   CHECK(twin && gbm_bo_get_handle(twin).u32 == gbm_bo_get_handle(import).u32);
   gbm_bo_destroy(bo);
   gbm_bo_destroy(twin);
   CHECK(close(data.fd) == 0);
   is_filled(import, 3);
   data = exported(import);
   close(data.fd);
   gbm_bo_destroy(import);
}

static void
planes(struct gbm_device *gbm, struct gbm_device *into, uint32_t format)
{
   struct gbm_bo *bo = create(gbm, 65, 33, format, 0);
   fill(bo, 9);
   struct gbm_import_fd_modifier_data data = exported_planes(bo);
   const uint64_t modifiers[] = {data.modifier, MOD_INVALID};
   for (int i = 0; i < 2; i++) {
      data.modifier = modifiers[i];
      struct gbm_bo *import = gbm_bo_import(into, GBM_BO_IMPORT_FD_MODIFIER, &data, 0);
      CHECK(import);
      CHECK(gbm_bo_get_plane_count(import) == (int)data.num_fds);
      CHECK(gbm_bo_get_modifier(import) == gbm_bo_get_modifier(bo));
      for (uint32_t plane = 0; plane < data.num_fds; plane++) {
         CHECK(gbm_bo_get_stride_for_plane(import, plane) == (uint32_t)data.strides[plane]);
         CHECK(gbm_bo_get_offset(import, plane) == (uint32_t)data.offsets[plane]);
      }
      is_filled(import, 9);
      gbm_bo_destroy(import);
   }
   gbm_bo_destroy(bo);
   close_planes(&data);
}

static void
what_is_no_descriptor_is_refused(struct gbm_device *gbm)
{
   struct gbm_import_fd_data data = {0};
   FAILS(gbm_bo_import(gbm, GBM_BO_IMPORT_WL_BUFFER, &data, 0) == NULL, ENOSYS);
   FAILS(gbm_bo_import(gbm, GBM_BO_IMPORT_EGL_IMAGE, &data, 0) == NULL, ENOSYS);
   FAILS(gbm_bo_import(gbm, 0, &data, 0) == NULL, ENOSYS);
   FAILS(gbm_bo_import(gbm, GBM_BO_IMPORT_FD, NULL, 0) == NULL, EINVAL);
   FAILS(gbm_bo_import(gbm, GBM_BO_IMPORT_FD_MODIFIER, NULL, 0) == NULL, EINVAL);
}

static void
wrong_claims_of_one_plane(struct gbm_device *gbm)
{
   struct gbm_bo *bo = create(gbm, 64, 64, GBM_FORMAT_XRGB8888, 0);
   const struct gbm_import_fd_data right = exported(bo);
   struct gbm_import_fd_data data;
#define WRONG(field, value, code)                                                                                      \
   data = right;                                                                                                       \
   data.field = value;                                                                                                 \
   FAILS(gbm_bo_import(gbm, GBM_BO_IMPORT_FD, &data, 0) == NULL, code)
   WRONG(width, 0, EINVAL);
   WRONG(height, 0, EINVAL);
   WRONG(width, 65, EINVAL);
   WRONG(width, UINT32_MAX, EINVAL);
   WRONG(height, 65, EINVAL);
   WRONG(height, UINT32_MAX, EINVAL);
   WRONG(stride, 0, EINVAL);
   WRONG(stride, 255, EINVAL);
   WRONG(stride, 512, EINVAL);
   WRONG(stride, INT_MAX, EINVAL);
   WRONG(stride, UINT32_MAX, EOVERFLOW);
   WRONG(format, 0x3f3f3f3f, EINVAL);
   WRONG(format, GBM_FORMAT_NV12, EINVAL);
   WRONG(format, GBM_FORMAT_ABGR16161616F, EINVAL);
   WRONG(fd, -1, EBADF);
   WRONG(fd, INT_MAX, EBADF);
#undef WRONG
   FAILS(gbm_bo_import(gbm, GBM_BO_IMPORT_FD, (void *)&right, UNKNOWN_FLAG) == NULL, EINVAL);

   /* Another view of the same bytes is right. */
   data = right;
   data.format = GBM_FORMAT_ARGB8888;
   data.height = 32;
   struct gbm_bo *import = gbm_bo_import(gbm, GBM_BO_IMPORT_FD, &data, 0);
   CHECK(import && gbm_bo_get_height(import) == 32);
   gbm_bo_destroy(import);

   /* A descriptor that is no buffer, and one that was closed. */
   data.fd = memfd_create("stranger", MFD_CLOEXEC);
   CHECK(data.fd >= 0 && ftruncate(data.fd, 1 << 20) == 0);
   errno = 0;
   CHECK(gbm_bo_import(gbm, GBM_BO_IMPORT_FD, &data, 0) == NULL && errno != 0);
   close(data.fd);
   FAILS(gbm_bo_import(gbm, GBM_BO_IMPORT_FD, &data, 0) == NULL, EBADF);
   close(right.fd);
   gbm_bo_destroy(bo);
}

static void
wrong_claims_of_planes(struct gbm_device *gbm)
{
   struct gbm_bo *bo = create(gbm, 64, 64, GBM_FORMAT_NV12, 0), *other = create(gbm, 64, 64, GBM_FORMAT_NV12, 0);
   const struct gbm_import_fd_modifier_data right = exported_planes(bo);
   struct gbm_import_fd_modifier_data data;
   int stranger = gbm_bo_get_fd(other);
#define WRONG(field, value, code)                                                                                      \
   data = right;                                                                                                       \
   data.field = value;                                                                                                 \
   FAILS(gbm_bo_import(gbm, GBM_BO_IMPORT_FD_MODIFIER, &data, 0) == NULL, code)
   WRONG(num_fds, 0, EINVAL);
#ifndef MINIGBM /* where one descriptor is that of every plane */
   WRONG(num_fds, 1, EINVAL);
#endif
   WRONG(num_fds, 3, EINVAL);
   WRONG(num_fds, 5, EINVAL);
   WRONG(num_fds, UINT32_MAX, EINVAL);
   WRONG(strides[1], -64, EINVAL);
   WRONG(strides[1], 63, EINVAL);
   WRONG(strides[1], INT_MAX, EINVAL);
   WRONG(offsets[0], -1, EINVAL);
   WRONG(offsets[1], INT_MIN, EINVAL);
   WRONG(offsets[1], INT_MAX, EINVAL);
   WRONG(offsets[1], 0, EINVAL);
   WRONG(offsets[1], right.offsets[1] - 64, EINVAL);
   WRONG(fds[1], stranger, EINVAL);
   WRONG(fds[1], -1, EBADF);
   WRONG(fds[0], INT_MAX, EBADF);
   WRONG(format, GBM_FORMAT_XRGB8888, EINVAL);
   WRONG(format, 0x3f3f3f3f, EINVAL);
   WRONG(width, UINT32_MAX, EINVAL);
   WRONG(height, UINT32_MAX, EINVAL);
#undef WRONG
   close(stranger);
   close_planes(&right);
   gbm_bo_destroy(other);
   gbm_bo_destroy(bo);
}

/* Of tiles nobody checks what a stride is, so that nobody takes them for rows. */
static void
tiles_are_not_mapped(struct gbm_device *gbm)
{
   struct gbm_bo *bo = create(gbm, 64, 64, GBM_FORMAT_XRGB8888, 0);
   struct gbm_import_fd_modifier_data data = exported_planes(bo);
   uint32_t stride;
   void *map_data;
   data.modifier = MOD_TILED;
   data.strides[0] = 1 << 20;
   errno = 0;
   struct gbm_bo *import = gbm_bo_import(gbm, GBM_BO_IMPORT_FD_MODIFIER, &data, 0);
   CHECK(import || errno);
   if (import) {
      FAILS(gbm_bo_map(import, 0, 0, 64, 64, GBM_BO_TRANSFER_READ, &stride, &map_data) == NULL, ENOSYS);
      gbm_bo_destroy(import);
   }
   close_planes(&data);
   gbm_bo_destroy(bo);
}

static void
test(struct gbm_device *gbm)
{
   static const uint32_t formats[] = {GBM_FORMAT_XRGB8888, GBM_FORMAT_NV12, GBM_FORMAT_YUV420, GBM_FORMAT_YUYV};
   int fd = open_node();
   struct gbm_device *other = gbm_create_device(fd);
   CHECK(other);
   one_plane(gbm, gbm);
   one_plane(gbm, other);
   for (size_t i = 0; i < COUNT(formats); i++) {
      planes(gbm, gbm, formats[i]);
      planes(gbm, other, formats[i]);
   }
   what_is_no_descriptor_is_refused(gbm);
   wrong_claims_of_one_plane(gbm);
   wrong_claims_of_planes(gbm);
   tiles_are_not_mapped(gbm);
   gbm_device_destroy(other);
   close(fd);
}
