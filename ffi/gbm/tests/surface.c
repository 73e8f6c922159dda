/* Surfaces without an EGL: every call is safe and says so. */
#include "program.h"

static void
test(struct gbm_device *gbm)
{
   const uint64_t linear[] = {MOD_LINEAR};
   const uint32_t flags = GBM_BO_USE_SCANOUT | GBM_BO_USE_RENDERING;
   struct gbm_surface *surfaces[] = {
      gbm_surface_create(gbm, 640, 480, GBM_FORMAT_XRGB8888, flags),
      gbm_surface_create(gbm, 640, 480, GBM_BO_FORMAT_XRGB8888, flags),
      gbm_surface_create_with_modifiers(gbm, 640, 480, GBM_FORMAT_XRGB8888, linear, 1),
      gbm_surface_create_with_modifiers2(gbm, 640, 480, GBM_FORMAT_XRGB8888, linear, 1, flags),
   };
   struct gbm_bo *bo = create(gbm, 64, 64, GBM_FORMAT_XRGB8888, 0);
   for (size_t i = 0; i < COUNT(surfaces); i++) {
      CHECK(surfaces[i]);
      FAILS(gbm_surface_has_free_buffers(surfaces[i]) == 0, ENOSYS);
      FAILS(gbm_surface_lock_front_buffer(surfaces[i]) == NULL, ENOSYS);
      gbm_surface_release_buffer(surfaces[i], bo);
      gbm_surface_release_buffer(surfaces[i], NULL);
      /* Other vendors' EGLs write around a surface. */
      memset((char *)surfaces[i] - 64, 1, 64);
      memset((char *)surfaces[i] + 40, 1, 64);
      gbm_surface_destroy(surfaces[i]);
   }
   gbm_bo_destroy(bo);

   FAILS(gbm_surface_create(gbm, 0, 480, GBM_FORMAT_XRGB8888, flags) == NULL, EINVAL);
   FAILS(gbm_surface_create(gbm, 640, 480, 0x3f3f3f3f, flags) == NULL, EINVAL);
   FAILS(gbm_surface_create(gbm, 640, 480, GBM_FORMAT_NV12, flags) == NULL, EINVAL);
   FAILS(gbm_surface_create(gbm, UINT32_MAX, UINT32_MAX, GBM_FORMAT_XRGB8888, flags) == NULL, EINVAL);
}
