/* Which mode serves: the first argument is the one that must. */
#include "check.h"
#include "stand_in.h"

int
main(int count, char **arguments)
{
   CHECK(count == 2);
   const char *mode = arguments[1];
   int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
   struct gbm_device *gbm = gbm_create_device(fd);
   CHECK(gbm);
   const char *name = gbm_device_get_backend_name(gbm);
   CHECK(strcmp(name, strcmp(mode, "native") == 0 ? "virgbm" : "drm") == 0);
   /* What only the guest library makes. */
   struct gbm_bo *bo = gbm_bo_create(gbm, 64, 64, GBM_FORMAT_R8, 0);
   CHECK(!bo == (strcmp(mode, "pass") == 0));
   if (bo)
      gbm_bo_destroy(bo);
   gbm_device_destroy(gbm);
   close(fd);
   return 0;
}
