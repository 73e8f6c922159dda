/* Lists of modifiers, for buffers and for surfaces. */
#include "program.h"

static uint64_t
made_with(struct gbm_device *gbm, const uint64_t *modifiers, unsigned int count)
{
   struct gbm_bo *bo = gbm_bo_create_with_modifiers(gbm, 64, 64, GBM_FORMAT_XRGB8888, modifiers, count);
   CHECK(bo);
   uint64_t modifier = gbm_bo_get_modifier(bo);
   gbm_bo_destroy(bo);
   bo = gbm_bo_create_with_modifiers2(gbm, 64, 64, GBM_FORMAT_XRGB8888, modifiers, count, GBM_BO_USE_RENDERING);
   CHECK(bo && gbm_bo_get_modifier(bo) == modifier);
   gbm_bo_destroy(bo);
   struct gbm_surface *surface = gbm_surface_create_with_modifiers(gbm, 64, 64, GBM_FORMAT_XRGB8888, modifiers, count);
   CHECK(surface);
   gbm_surface_destroy(surface);
   return modifier;
}

static void
refused(struct gbm_device *gbm, const uint64_t *modifiers, unsigned int count, uint32_t flags, int code)
{
   const uint32_t format = GBM_FORMAT_XRGB8888;
   FAILS(gbm_bo_create_with_modifiers2(gbm, 64, 64, format, modifiers, count, flags) == NULL, code);
   FAILS(gbm_surface_create_with_modifiers2(gbm, 64, 64, format, modifiers, count, flags) == NULL, code);
}

static void
test(struct gbm_device *gbm)
{
   const uint64_t linear[] = {MOD_LINEAR}, invalid[] = {MOD_INVALID}, tiled[] = {MOD_TILED};
   const uint64_t both[] = {MOD_TILED, MOD_LINEAR}, either[] = {MOD_TILED, MOD_INVALID}, twice[] = {0, 0, MOD_INVALID};

   /* Where the host chooses, and does not say what. */
   const uint64_t implicit = made_with(gbm, NULL, 0);
   CHECK(implicit == MOD_LINEAR || implicit == MOD_INVALID);

   CHECK(made_with(gbm, linear, 1) == MOD_LINEAR);
   CHECK(made_with(gbm, both, 2) == MOD_LINEAR);
   CHECK(made_with(gbm, twice, 3) == MOD_LINEAR);
   /* INVALID leaves it to the host, alone and where nothing else fits; what is reported is what was made. */
   CHECK(made_with(gbm, invalid, 1) == implicit);
   CHECK(made_with(gbm, either, 2) == implicit);

   uint64_t many[1000];
   for (size_t i = 0; i < COUNT(many); i++)
      many[i] = MOD_TILED + i;
   refused(gbm, many, COUNT(many), 0, ENOSYS);
   many[999] = MOD_LINEAR;
   CHECK(made_with(gbm, many, COUNT(many)) == MOD_LINEAR);

   refused(gbm, tiled, 1, 0, ENOSYS);
   refused(gbm, linear, 1, GBM_BO_USE_LINEAR, EINVAL);
   refused(gbm, NULL, 1, 0, EINVAL);
   refused(gbm, linear, 0, 0, EINVAL);
   FAILS(gbm_bo_create_with_modifiers(gbm, 64, 64, GBM_FORMAT_XRGB8888, NULL, 1) == NULL, EINVAL);
   FAILS(gbm_bo_create_with_modifiers(gbm, 0, 64, GBM_FORMAT_XRGB8888, linear, 1) == NULL, EINVAL);
#ifndef MINIGBM
   /* Without flags it is for SCANOUT, which YUV is not. */
   FAILS(gbm_bo_create_with_modifiers(gbm, 64, 64, GBM_FORMAT_NV12, linear, 1) == NULL, EINVAL);
#endif
   FAILS(gbm_bo_create_with_modifiers(gbm, 64, 64, 0x3f3f3f3f, linear, 1) == NULL, EINVAL);
}
