/* What C lets one pass: every null, sizes of zero and beyond all memory, flags and formats that are none, descriptors closed
 * behind our back. Each fails with errno, and program.h counts that nothing was left open. */
#include "program.h"

static void
nulls(struct gbm_device *gbm, struct gbm_bo *bo)
{
   struct gbm_import_fd_data data = {0};
   struct gbm_format_name_desc *no_desc = NULL;
   uint32_t stride;
   void *map_data;

   gbm_device_destroy(NULL);
   FAILS(gbm_device_get_fd(NULL) == -1, EINVAL);
   FAILS(gbm_device_get_backend_name(NULL) == NULL, EINVAL);
   FAILS(gbm_device_is_format_supported(NULL, GBM_FORMAT_XRGB8888, 0) == 0, EINVAL);
   FAILS(gbm_device_get_format_modifier_plane_count(NULL, GBM_FORMAT_XRGB8888, 0) == -1, EINVAL);
   FAILS(gbm_bo_create(NULL, 1, 1, GBM_FORMAT_XRGB8888, 0) == NULL, EINVAL);
   FAILS(gbm_bo_create_with_modifiers(NULL, 1, 1, GBM_FORMAT_XRGB8888, NULL, 0) == NULL, EINVAL);
   FAILS(gbm_bo_create_with_modifiers2(NULL, 1, 1, GBM_FORMAT_XRGB8888, NULL, 0, 0) == NULL, EINVAL);
   FAILS(gbm_bo_import(NULL, GBM_BO_IMPORT_FD, &data, 0) == NULL, EINVAL);
   FAILS(gbm_bo_import(gbm, GBM_BO_IMPORT_FD, NULL, 0) == NULL, EINVAL);
   FAILS(gbm_bo_map(NULL, 0, 0, 1, 1, GBM_BO_TRANSFER_READ, &stride, &map_data) == NULL, EINVAL);
   FAILS((gbm_bo_unmap(NULL, NULL), 1), EINVAL);
   FAILS(gbm_bo_write(NULL, "", 1) == -1, EINVAL);
   FAILS(gbm_bo_write(bo, NULL, 1) == -1, EINVAL);
   FAILS(gbm_bo_get_width(NULL) == 0, EINVAL);
   FAILS(gbm_bo_get_height(NULL) == 0, EINVAL);
   FAILS(gbm_bo_get_stride(NULL) == 0, EINVAL);
   FAILS(gbm_bo_get_stride_for_plane(NULL, 0) == 0, EINVAL);
   FAILS(gbm_bo_get_offset(NULL, 0) == 0, EINVAL);
   FAILS(gbm_bo_get_format(NULL) == 0, EINVAL);
   FAILS(gbm_bo_get_bpp(NULL) == 0, EINVAL);
   FAILS(gbm_bo_get_device(NULL) == NULL, EINVAL);
   FAILS(gbm_bo_get_handle(NULL).s32 == -1, EINVAL);
   FAILS(gbm_bo_get_handle_for_plane(NULL, 0).s32 == -1, EINVAL);
   FAILS(gbm_bo_get_fd(NULL) == -1, EINVAL);
   FAILS(gbm_bo_get_fd_for_plane(NULL, 0) == -1, EINVAL);
   FAILS(gbm_bo_get_plane_count(NULL) == -1, EINVAL);
   FAILS(gbm_bo_get_modifier(NULL) == MOD_INVALID, EINVAL);
   FAILS((gbm_bo_set_user_data(NULL, NULL, NULL), 1), EINVAL);
   FAILS(gbm_bo_get_user_data(NULL) == NULL, EINVAL);
   FAILS((gbm_bo_destroy(NULL), 1), EINVAL);
   FAILS(gbm_surface_create(NULL, 1, 1, GBM_FORMAT_XRGB8888, 0) == NULL, EINVAL);
   FAILS(gbm_surface_create_with_modifiers(NULL, 1, 1, GBM_FORMAT_XRGB8888, NULL, 0) == NULL, EINVAL);
   FAILS(gbm_surface_create_with_modifiers2(NULL, 1, 1, GBM_FORMAT_XRGB8888, NULL, 0, 0) == NULL, EINVAL);
   FAILS(gbm_surface_lock_front_buffer(NULL) == NULL, EINVAL);
   FAILS((gbm_surface_release_buffer(NULL, bo), 1), EINVAL);
   FAILS(gbm_surface_has_free_buffers(NULL) == 0, EINVAL);
   FAILS((gbm_surface_destroy(NULL), 1), EINVAL);
   FAILS(gbm_format_get_name(GBM_FORMAT_XRGB8888, no_desc) == NULL, EINVAL);
}

static void
sizes(struct gbm_device *gbm)
{
   const uint32_t format = GBM_FORMAT_XRGB8888;
   FAILS(gbm_bo_create(gbm, 0, 1, format, 0) == NULL, EINVAL);
   FAILS(gbm_bo_create(gbm, 1, 0, format, 0) == NULL, EINVAL);
   FAILS(gbm_bo_create(gbm, UINT32_MAX, 1, format, 0) == NULL, EINVAL);
   FAILS(gbm_bo_create(gbm, 1, UINT32_MAX, format, 0) == NULL, EINVAL);
   FAILS(gbm_bo_create(gbm, UINT32_MAX, UINT32_MAX, format, GBM_BO_USE_LINEAR) == NULL, EINVAL);
   /* What the host could say, and has no memory for. On a node the kernel may be the first to refuse it. */
   errno = 0;
   CHECK(gbm_bo_create(gbm, 65535, 65535, format, 0) == NULL);
   CHECK(errno == ENOMEM || (getenv("VIRGBM_TEST_NODE") && (errno == ENOSPC || errno == EINVAL)));
   struct gbm_bo *bo = create(gbm, 1, 1, format, 0);
   gbm_bo_destroy(bo);
}

static void
formats_and_flags(struct gbm_device *gbm)
{
   const uint32_t formats[] = {2, 0x3f3f3f3f, UINT32_MAX, GBM_FORMAT_XRGB8888 | 1u << 31, GBM_FORMAT_YUV410};
   for (size_t i = 0; i < COUNT(formats); i++)
      FAILS(gbm_bo_create(gbm, 64, 64, formats[i], 0) == NULL, EINVAL);
   FAILS(gbm_bo_create(gbm, 64, 64, GBM_FORMAT_XRGB8888, ~0u) == NULL, EINVAL);
   FAILS(gbm_bo_create(gbm, 64, 64, GBM_FORMAT_XRGB8888, UNKNOWN_FLAG) == NULL, EINVAL);
   FAILS(gbm_bo_create(gbm, 64, 64, GBM_FORMAT_XRGB8888, GBM_BO_USE_CURSOR) == NULL, EINVAL);
#ifndef MINIGBM
   FAILS(gbm_bo_create(gbm, 64, 64, GBM_FORMAT_ARGB8888, GBM_BO_USE_CURSOR | GBM_BO_USE_RENDERING) == NULL, EINVAL);
#endif
   FAILS(gbm_bo_create(gbm, 64, 64, GBM_FORMAT_XRGB8888, GBM_BO_USE_PROTECTED | GBM_BO_USE_WRITE) == NULL, EINVAL);
   FAILS(gbm_bo_create(gbm, 64, 64, GBM_FORMAT_NV12, GBM_BO_USE_SCANOUT) == NULL, EINVAL);
}

/* A device goes on when its descriptor is closed, also when another file gets the number. */
static void
closed_descriptors(void)
{
   int fd = open_node();
   struct gbm_device *gbm = gbm_create_device(fd);
   CHECK(gbm);
   close(fd);
   int other = memfd_create("other", MFD_CLOEXEC);
   CHECK(other == fd);
   struct gbm_bo *bo = create(gbm, 64, 64, GBM_FORMAT_XRGB8888, 0);
   int export = gbm_bo_get_fd(bo);
   CHECK(export >= 0);
   struct gbm_import_fd_data data = {export, 64, 64, gbm_bo_get_stride(bo), GBM_FORMAT_XRGB8888};
   struct gbm_bo *import = gbm_bo_import(gbm, GBM_BO_IMPORT_FD, &data, 0);
   CHECK(import);
   close(export);
   gbm_bo_destroy(bo);
   FAILS(gbm_bo_import(gbm, GBM_BO_IMPORT_FD, &data, 0) == NULL, EBADF);
   gbm_bo_destroy(import);
   gbm_device_destroy(gbm);
   close(other);
}

static void
test(struct gbm_device *gbm)
{
   struct gbm_bo *bo = create(gbm, 64, 64, GBM_FORMAT_XRGB8888, 0);
   nulls(gbm, bo);
   gbm_bo_destroy(bo);
   sizes(gbm);
   formats_and_flags(gbm);
   closed_descriptors();
}
