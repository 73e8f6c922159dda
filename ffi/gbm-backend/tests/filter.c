/* Mesa's device with the guest library in front, while no EGL draws on it and while one does. Mesa is played by dri.c, EGL by this
 * program: it puts its own functions for surfaces into the device. */
#include "program.h"
#include "stand_in.h"
#include <dlfcn.h>

static struct mesa_counts *mesa;
static int egl_calls;

static struct bo *
lock_front_buffer(struct surface *surface)
{
   (void)surface;
   egl_calls++;
   return NULL;
}

static void
release_buffer(struct surface *surface, struct bo *bo)
{
   (void)surface, (void)bo;
   egl_calls++;
}

static int
has_free_buffers(struct surface *surface)
{
   (void)surface;
   egl_calls++;
   return 1;
}

static void
start_egl(struct gbm_device *gbm)
{
   struct device *device = (struct device *)gbm;
   device->surface_lock_front_buffer = lock_front_buffer;
   device->surface_release_buffer = release_buffer;
   device->surface_has_free_buffers = has_free_buffers;
}

static int
is_mesas(struct gbm_bo *bo)
{
   return gbm_bo_get_stride(bo) == MESA_STRIDE;
}

/* Makes a buffer of 64 by 64 pixels, and tells whether Mesa made it. */
static int
mesa_makes(struct gbm_device *gbm, uint32_t format, const uint64_t *modifiers, unsigned int count)
{
   struct gbm_bo *bo = gbm_bo_create_with_modifiers2(gbm, 64, 64, format, modifiers, count, 0);
   CHECK(bo && gbm_bo_get_format(bo) == format && gbm_bo_get_device(bo) == gbm);
   int before = mesa->bos, answer = is_mesas(bo);
   gbm_bo_destroy(bo);
   CHECK(mesa->bos == before - answer);
   return answer;
}

static void
buffers(struct gbm_device *gbm, int egl)
{
   const uint64_t invalid = MOD_INVALID, linear = MOD_LINEAR, tiled = MOD_TILED;
   CHECK(mesa_makes(gbm, GBM_FORMAT_XRGB8888, NULL, 0) == egl);
   CHECK(mesa_makes(gbm, GBM_FORMAT_XRGB8888, &linear, 1) == egl);
   /* What Mesa refuses, with an errno and without. */
   CHECK(mesa_makes(gbm, GBM_FORMAT_R8, NULL, 0) == 0);
   CHECK(mesa_makes(gbm, GBM_FORMAT_NV12, NULL, 0) == 0);
   CHECK(mesa_makes(gbm, GBM_FORMAT_XRGB8888, &invalid, 1) == 0);
   /* What the guest library refuses. */
   CHECK(mesa_makes(gbm, FORMAT_MADE, NULL, 0) == 1);
   /* What both refuse has the guest library's errno. */
   FAILS(gbm_bo_create(gbm, 64, 64, FORMAT_CLAIMED, 0) == NULL, EINVAL);
   FAILS(gbm_bo_create_with_modifiers2(gbm, 64, 64, GBM_FORMAT_R8, &tiled, 1, 0) == NULL, ENOSYS);

   CHECK(gbm_device_is_format_supported(gbm, GBM_FORMAT_XRGB8888, 0) == 1);
   CHECK(gbm_device_is_format_supported(gbm, GBM_FORMAT_R8, 0) == 1);
   CHECK(gbm_device_is_format_supported(gbm, GBM_FORMAT_NV12, 0) == 1);
   for (int i = 0; i < 2; i++) {
      CHECK(gbm_device_is_format_supported(gbm, FORMAT_MADE, 0) == 1);
      CHECK(gbm_device_is_format_supported(gbm, FORMAT_CLAIMED, 0) == 0);
   }
   CHECK(mesa->bos == 0);
   CHECK(gbm_device_get_format_modifier_plane_count(gbm, GBM_FORMAT_NV12, MOD_LINEAR) == 2);
   CHECK(gbm_device_get_format_modifier_plane_count(gbm, FORMAT_MADE, MOD_LINEAR) == 1);
   FAILS(gbm_device_get_format_modifier_plane_count(gbm, GBM_FORMAT_NV12, MOD_TILED) == -1, ENOSYS);
}

/* Each call reaches whoever made the buffer, and none goes beyond it. */
static void
access_is_checked(struct gbm_bo *bo)
{
   static const unsigned char data[MESA_STRIDE * 64 + 1] = {7, 8, 9};
   const int mesas = is_mesas(bo);
   const size_t size = gbm_bo_get_stride(bo) * 64;
   uint32_t stride;
   void *map_data;
   CHECK(gbm_bo_write(bo, data, size) == 0);
   CHECK(mesas || gbm_bo_write(bo, data, 0) == 0);
   FAILS(gbm_bo_write(bo, data, sizeof data) == -1, EINVAL);
   FAILS(gbm_bo_write(bo, data, SIZE_MAX) == -1, EINVAL);
   unsigned char *pixels = gbm_bo_map(bo, 0, 0, 64, 64, GBM_BO_TRANSFER_READ, &stride, &map_data);
   CHECK(pixels && pixels[0] == 7 && pixels[2] == 9 && stride == gbm_bo_get_stride(bo));
   gbm_bo_unmap(bo, map_data);
   FAILS(gbm_bo_map(bo, 1, 0, 64, 64, GBM_BO_TRANSFER_READ, &stride, &map_data) == NULL, EINVAL);
   FAILS(gbm_bo_map(bo, 0, 64, 1, 1, GBM_BO_TRANSFER_READ, &stride, &map_data) == NULL, EINVAL);
   FAILS(gbm_bo_map(bo, UINT32_MAX, 0, 2, 1, GBM_BO_TRANSFER_READ, &stride, &map_data) == NULL, EINVAL);

   CHECK(gbm_bo_get_plane_count(bo) == 1 && gbm_bo_get_modifier(bo) == MOD_LINEAR && gbm_bo_get_offset(bo, 0) == 0);
   CHECK(gbm_bo_get_handle(bo).u32 == gbm_bo_get_handle_for_plane(bo, 0).u32);
   const int outside[] = {1, 4, -1, INT_MAX};
   for (size_t i = 0; i < COUNT(outside); i++) {
      FAILS(gbm_bo_get_stride_for_plane(bo, outside[i]) == 0, EINVAL);
      FAILS(gbm_bo_get_offset(bo, outside[i]) == 0, EINVAL);
      FAILS(gbm_bo_get_handle_for_plane(bo, outside[i]).s32 == -1, EINVAL);
      FAILS(gbm_bo_get_fd_for_plane(bo, outside[i]) == -1, EINVAL);
   }
   int fds[] = {gbm_bo_get_fd(bo), gbm_bo_get_fd_for_plane(bo, 0)};
   for (size_t i = 0; i < COUNT(fds); i++) {
      CHECK(fds[i] >= 0 && fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
      close(fds[i]);
   }
}

/* Imports a descriptor, and tells whether Mesa did. */
static int
mesa_imports(struct gbm_device *gbm, struct gbm_import_fd_data *data)
{
   int before = mesa->bos;
   struct gbm_bo *import = gbm_bo_import(gbm, GBM_BO_IMPORT_FD, data, 0);
   CHECK(import && gbm_bo_get_stride(import) == data->stride && gbm_bo_get_device(import) == gbm);
   int answer = mesa->bos > before;
   gbm_bo_destroy(import);
   CHECK(mesa->bos == before);
   return answer;
}

static void
imports(struct gbm_device *gbm, struct gbm_bo *native, int egl)
{
   struct gbm_import_fd_data data = {gbm_bo_get_fd(native), 64, 64, gbm_bo_get_stride(native), GBM_FORMAT_XRGB8888};
   CHECK(data.fd >= 0);
   CHECK(mesa_imports(gbm, &data) == egl);

   /* What does not fit is refused before Mesa is asked. */
   int before = mesa->imports;
   data.height = 1 << 20;
   FAILS(gbm_bo_import(gbm, GBM_BO_IMPORT_FD, &data, 0) == NULL, EINVAL);
   data.height = 64;
   FAILS(gbm_bo_import(gbm, GBM_BO_IMPORT_FD, &data, 1 << 11) == NULL, EINVAL);
   FAILS(gbm_bo_import(gbm, GBM_BO_IMPORT_FD, NULL, 0) == NULL, EINVAL);
   CHECK(mesa->imports == before);

   /* What only the guest library knows: planes. */
   struct gbm_import_fd_modifier_data planes = {64, 64, GBM_FORMAT_XRGB8888, 1, {data.fd}, {data.stride}, {0}, MOD_LINEAR};
   struct gbm_bo *import = gbm_bo_import(gbm, GBM_BO_IMPORT_FD_MODIFIER, &planes, 0);
   CHECK(import && gbm_bo_get_device(import) == gbm);
   gbm_bo_destroy(import);
   close(data.fd);

   /* What only Mesa knows. */
   import = gbm_bo_import(gbm, GBM_BO_IMPORT_WL_BUFFER, &data, 0);
   CHECK(import && is_mesas(import));
   gbm_bo_destroy(import);

   data.fd = memfd_create("stranger", MFD_CLOEXEC);
   CHECK(ftruncate(data.fd, 1 << 16) == 0);
   CHECK(mesa_imports(gbm, &data) == 1);
   close(data.fd);
}

static void
surfaces(struct gbm_device *gbm, int egl)
{
   struct gbm_surface *surface = gbm_surface_create(gbm, 64, 64, GBM_FORMAT_XRGB8888, 0);
   CHECK(surface && mesa->surfaces == 1);
   if (egl) {
      CHECK(gbm_surface_has_free_buffers(surface) == 1 && gbm_surface_lock_front_buffer(surface) == NULL);
      gbm_surface_release_buffer(surface, NULL);
      CHECK(egl_calls == 3);
   } else {
      FAILS(gbm_surface_has_free_buffers(surface) == 0, ENOSYS);
      FAILS(gbm_surface_lock_front_buffer(surface) == NULL, ENOSYS);
      FAILS((gbm_surface_release_buffer(surface, NULL), 1), ENOSYS);
   }
   gbm_surface_destroy(surface);
   CHECK(mesa->surfaces == 0);
}

/* Mesa may make nothing. Without EGL that is nothing to it; what its EGL would draw to is refused as Mesa refuses it. */
static void
refusals(struct gbm_device *gbm)
{
   CHECK(gbm_device_is_format_supported(gbm, GBM_FORMAT_XRGB8888, GBM_BO_USE_RENDERING) == 1);
   gbm_bo_destroy(create(gbm, 64, 64, GBM_FORMAT_XRGB8888, GBM_BO_USE_RENDERING));
   start_egl(gbm);
   for (int i = 0; i < 2; i++) {
      CHECK(gbm_device_is_format_supported(gbm, GBM_FORMAT_XRGB8888, GBM_BO_USE_RENDERING) == 0);
      FAILS(gbm_bo_create(gbm, 64, 64, GBM_FORMAT_XRGB8888, GBM_BO_USE_RENDERING) == NULL, EACCES);
      CHECK(gbm_device_is_format_supported(gbm, GBM_FORMAT_XRGB8888, 0) == 1);
      CHECK(mesa_makes(gbm, GBM_FORMAT_XRGB8888, NULL, 0) == 0);
   }
}

static void
test(struct gbm_device *gbm)
{
   mesa = dlsym(RTLD_DEFAULT, "mesa_counts");
   CHECK(mesa && mesa->devices == 1 && strcmp(gbm_device_get_backend_name(gbm), "drm") == 0);
   if (getenv("MESA_REFUSES")) {
      refusals(gbm);
      return;
   }

   /* Two devices of a process are apart, but for knowing each other's buffers: an EGL on one is none on the other. */
   int fd = open_node(), third_fd = open_node();
   struct gbm_device *other = gbm_create_device(fd), *third = gbm_create_device(third_fd);
   CHECK(other && third && mesa->devices == 3);
   start_egl(other);
   CHECK(mesa_makes(other, GBM_FORMAT_XRGB8888, NULL, 0) == 1);

   struct gbm_bo *early = create(gbm, 64, 64, GBM_FORMAT_XRGB8888, 0);
   imports(other, early, 1);
   imports(third, early, 0);
   for (int egl = 0; egl < 2; egl++) {
      if (egl)
         start_egl(gbm);
      buffers(gbm, egl);
      surfaces(gbm, egl);
      imports(gbm, early, egl);
      struct gbm_bo *bo = create(gbm, 64, 64, GBM_FORMAT_XRGB8888, GBM_BO_USE_WRITE);
      CHECK(is_mesas(bo) == egl);
      access_is_checked(bo);
      gbm_bo_destroy(bo);
      access_is_checked(early);
   }
   gbm_bo_destroy(early);
   gbm_device_destroy(other);
   gbm_device_destroy(third);
   CHECK(mesa->devices == 1);
   close(fd);
   close(third_fd);
}
