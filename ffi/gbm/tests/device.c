/* Devices: what is one, what it is called, and that "supported" means that a buffer can be made. */
#include "program.h"
#include "formats.h"

static void
what_is_no_device_is_refused(void)
{
   int ends[2], file = memfd_create("file", MFD_CLOEXEC);
   CHECK(file >= 0 && pipe2(ends, O_CLOEXEC) == 0);
   FAILS(gbm_create_device(-1) == NULL, EINVAL);
   FAILS(gbm_create_device(INT_MAX) == NULL, EINVAL);
   FAILS(gbm_create_device(file) == NULL, EINVAL);
   FAILS(gbm_create_device(ends[0]) == NULL, EINVAL);
   close(ends[0]);
   FAILS(gbm_create_device(ends[0]) == NULL, EINVAL);
   close(ends[1]);
   close(file);
}

static void
supported_means_that_it_can_be_made(struct gbm_device *gbm)
{
   static const uint32_t flags[] = {
      0, GBM_BO_USE_SCANOUT, GBM_BO_USE_CURSOR, GBM_BO_USE_RENDERING, GBM_BO_USE_WRITE, GBM_BO_USE_LINEAR,
      GBM_BO_USE_PROTECTED, GBM_BO_USE_FRONT_RENDERING, GBM_BO_USE_SCANOUT | GBM_BO_USE_RENDERING,
      GBM_BO_USE_CURSOR | GBM_BO_USE_WRITE, GBM_BO_USE_CURSOR | GBM_BO_USE_RENDERING,
      GBM_BO_USE_PROTECTED | GBM_BO_USE_WRITE, GBM_BO_USE_SCANOUT | GBM_BO_USE_LINEAR, 1 << 7, 13 << 7, 1 << 11, ~0u,
   };
   int supported = 0;
   for (size_t i = 0; i < COUNT(FORMATS); i++) {
      for (size_t j = 0; j < COUNT(flags); j++) {
         int told = gbm_device_is_format_supported(gbm, FORMATS[i].fourcc, flags[j]);
         struct gbm_bo *bo = gbm_bo_create(gbm, 64, 64, FORMATS[i].fourcc, flags[j]);
         CHECK(told == (bo != NULL));
         if (bo)
            gbm_bo_destroy(bo);
         supported += told;
      }
   }
   CHECK(supported > 100);
   CHECK(gbm_device_is_format_supported(gbm, GBM_FORMAT_ARGB8888, GBM_BO_USE_CURSOR | GBM_BO_USE_WRITE) == 1);
#ifndef MINIGBM
   CHECK(gbm_device_is_format_supported(gbm, GBM_FORMAT_ARGB8888, GBM_BO_USE_CURSOR | GBM_BO_USE_RENDERING) == 0);
#endif
   CHECK(gbm_device_is_format_supported(gbm, GBM_BO_FORMAT_XRGB8888, GBM_BO_USE_SCANOUT) == 1);
   CHECK(gbm_device_is_format_supported(gbm, 0x3f3f3f3f, 0) == 0);
   CHECK(gbm_device_is_format_supported(gbm, GBM_FORMAT_YUV410, 0) == 0);
}

static void
planes_are_counted(struct gbm_device *gbm)
{
   for (size_t i = 0; i < COUNT(FORMATS); i++) {
      CHECK(gbm_device_get_format_modifier_plane_count(gbm, FORMATS[i].fourcc, MOD_LINEAR) == FORMATS[i].planes);
      CHECK(gbm_device_get_format_modifier_plane_count(gbm, FORMATS[i].fourcc, MOD_INVALID) == FORMATS[i].planes);
   }
   CHECK(gbm_device_get_format_modifier_plane_count(gbm, GBM_BO_FORMAT_ARGB8888, MOD_LINEAR) == 1);
   FAILS(gbm_device_get_format_modifier_plane_count(gbm, GBM_FORMAT_NV12, MOD_TILED) == -1, ENOSYS);
   FAILS(gbm_device_get_format_modifier_plane_count(gbm, 0x3f3f3f3f, MOD_LINEAR) == -1, EINVAL);
}

static void
test(struct gbm_device *gbm)
{
   what_is_no_device_is_refused();
   CHECK(fcntl(gbm_device_get_fd(gbm), F_GETFD) >= 0);
   CHECK(strcmp(gbm_device_get_backend_name(gbm), "virgbm") == 0);
   /* By its first word EGL knows a device. */
   CHECK(*(struct gbm_device * (**)(int)) gbm == gbm_create_device);
   /* EGL of Mesa 25.0 looks beyond the structure. */
   for (size_t at = 200; at < 4096; at++)
      CHECK(((const char *)gbm)[at] == 0);
   supported_means_that_it_can_be_made(gbm);
   planes_are_counted(gbm);
}
