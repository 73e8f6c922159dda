/* A machine with two GPUs: each device is served by what knows it, in one process, and their buffers do not mix. */
#include "check.h"

static void
fill(struct gbm_bo *bo, unsigned char value)
{
   uint32_t stride;
   void *data = NULL;
   unsigned char *pixels = gbm_bo_map(bo, 0, 0, 64, 64, GBM_BO_TRANSFER_WRITE, &stride, &data);
   CHECK(pixels && stride >= 256);
   for (int y = 0; y < 64; y++)
      memset(pixels + (size_t)y * stride, value, 256);
   gbm_bo_unmap(bo, data);
}

static void
holds(struct gbm_bo *bo, unsigned char value)
{
   uint32_t stride;
   void *data = NULL;
   unsigned char *pixels = gbm_bo_map(bo, 0, 0, 64, 64, GBM_BO_TRANSFER_READ, &stride, &data);
   CHECK(pixels && pixels[0] == value && pixels[63 * (size_t)stride + 255] == value);
   gbm_bo_unmap(bo, data);
}

int
main(void)
{
   int ours_fd, other_fd;
   struct gbm_device *ours = open_device("VIRGBM_TEST_NODE", &ours_fd);
   struct gbm_device *other = open_device("VIRGBM_OTHER_NODE", &other_fd);
   printf("%s and %s\n", gbm_device_get_backend_name(ours), gbm_device_get_backend_name(other));
   CHECK(strcmp(gbm_device_get_backend_name(ours), "virgbm") == 0);
   CHECK(strcmp(gbm_device_get_backend_name(other), "drm") == 0);

   uint32_t flags = GBM_BO_USE_RENDERING | GBM_BO_USE_SCANOUT;
   struct gbm_bo *mine = gbm_bo_create(ours, 64, 64, GBM_FORMAT_XRGB8888, flags);
   struct gbm_bo *theirs = gbm_bo_create(other, 64, 64, GBM_FORMAT_XRGB8888, flags);
   CHECK(mine && theirs);
   CHECK(gbm_bo_get_device(mine) == ours && gbm_bo_get_device(theirs) == other);
   fill(mine, 0x11);
   fill(theirs, 0x22);
   holds(mine, 0x11);
   holds(theirs, 0x22);

   /* One goes, and the other stays. */
   gbm_bo_destroy(mine);
   gbm_device_destroy(ours);
   holds(theirs, 0x22);
   gbm_bo_destroy(theirs);
   gbm_device_destroy(other);
   CHECK(fcntl(ours_fd, F_GETFD) >= 0 && fcntl(other_fd, F_GETFD) >= 0);
   return 0;
}
