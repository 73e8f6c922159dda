/* The loader: backends of Mesa's ABI by name, on their path. The first argument is a folder with a nothing_gbm.so in each of
 * old/, new/ and wrong/. With a second argument it asks only what Mesa's own libgbm does as well. */
#include "check.h"

static int fd, mesa;

static struct gbm_device *
device(const char *folder, const char *version, const char *name)
{
   char path[4096];
   snprintf(path, sizeof path, "/nonexistent:%s/%s", folder, version);
   CHECK(setenv("GBM_BACKENDS_PATH", path, 1) == 0);
   CHECK(setenv("GBM_BACKEND", name, 1) == 0);
   errno = 0;
   return gbm_create_device(fd);
}

static void
serves(struct gbm_device *gbm, uint32_t version)
{
   CHECK(gbm && strcmp(gbm_device_get_backend_name(gbm), "nothing") == 0 && gbm_device_get_fd(gbm) == fd);
   CHECK(*(struct gbm_device * (**)(int)) gbm == gbm_create_device);
   CHECK(((uint32_t *)gbm)[4] == version);
   CHECK(gbm_device_is_format_supported(gbm, GBM_BO_FORMAT_XRGB8888, GBM_BO_USE_LINEAR) == 1);
   CHECK(gbm_device_is_format_supported(gbm, GBM_FORMAT_NV12, GBM_BO_USE_LINEAR) == 0);

   struct gbm_bo *bo = gbm_bo_create(gbm, 10, 20, GBM_BO_FORMAT_XRGB8888, 0);
   CHECK(bo && gbm_bo_get_width(bo) == 10 && gbm_bo_get_height(bo) == 20 && gbm_bo_get_format(bo) == GBM_FORMAT_XRGB8888);
   CHECK(gbm_bo_get_handle(bo).u32 == 42 && gbm_bo_get_device(bo) == gbm && gbm_bo_get_bpp(bo) == 32);
   gbm_bo_set_user_data(bo, &fd, NULL);
   CHECK(gbm_bo_get_user_data(bo) == &fd);
   if (!mesa) {
      errno = 0;
      CHECK(gbm_bo_get_fd(bo) == -1 && errno == ENOSYS);
   }
   gbm_bo_destroy(bo);

   const uint64_t linear = 0;
   errno = 0;
   CHECK(gbm_bo_create_with_modifiers(gbm, 10, 20, GBM_FORMAT_XRGB8888, &linear, 1) == NULL && errno == ENOTSUP);
   errno = 0;
   CHECK(gbm_bo_create(gbm, 10, 20, GBM_FORMAT_XRGB8888, GBM_BO_USE_SCANOUT) == NULL);
   CHECK(mesa || errno == EIO);
   gbm_device_destroy(gbm);
}

int
main(int count, char **arguments)
{
   CHECK(count > 1);
   mesa = count > 2;
   fd = open("/dev/null", O_RDWR | O_CLOEXEC);
   CHECK(fd >= 0);
   serves(device(arguments[1], "old", "nothing"), 0);
   serves(device(arguments[1], "new", "nothing"), 1);
   /* Where none serves, Mesa's draws in software. */
   if (!mesa) {
      CHECK(device(arguments[1], "wrong", "nothing") == NULL && errno == ENODEV);
      CHECK(device(arguments[1], "old", "missing") == NULL && errno == ENODEV);
      CHECK(device(arguments[1], "old", "../old/nothing") == NULL && errno == ENODEV);
      CHECK(device("/nonexistent", "old", "nothing") == NULL && errno == ENODEV);
   }
   close(fd);
   return 0;
}
