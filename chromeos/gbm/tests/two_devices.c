/* Two devices of virtio-gpu in one process, of hosts that differ: what is known of one is not taken for the other. minigbm keeps
 * what the last one said for both. */
#include "check.h"

static uint32_t *
map(struct gbm_bo *bo, uint32_t flags, void **map_data)
{
   uint32_t stride;
   uint32_t *pixels = gbm_bo_map(bo, 0, 0, 64, 64, flags, &stride, map_data);
   CHECK(pixels && stride >= 256);
   return pixels;
}

int
main(void)
{
   int fds[2];
   struct gbm_device *devices[2] = {
      open_device("VIRGBM_TEST_NODE", &fds[0]),
      open_device("VIRGBM_OTHER_NODE", &fds[1]),
   };
   struct gbm_bo *bos[2];
   void *map_data;
   const uint32_t flags = GBM_BO_USE_TEXTURING | GBM_BO_USE_SW_READ_OFTEN | GBM_BO_USE_SW_WRITE_OFTEN;
   /* The host of the second knows one format for the screen, that of the first all. */
   CHECK(gbm_device_is_format_supported(devices[0], GBM_FORMAT_ABGR8888, GBM_BO_USE_SCANOUT) == 1);
   CHECK(gbm_device_is_format_supported(devices[1], GBM_FORMAT_ABGR8888, GBM_BO_USE_SCANOUT) == 0);
   for (int round = 0; round < 20; round++) {
      for (int i = 0; i < 2; i++) {
         bos[i] = gbm_bo_create(devices[i], 64, 64, GBM_FORMAT_XRGB8888, flags);
         CHECK(bos[i] && gbm_bo_get_device(bos[i]) == devices[i]);
         map(bos[i], GBM_BO_TRANSFER_WRITE, &map_data)[63] = 100 + i;
         gbm_bo_unmap(bos[i], map_data);
      }
      for (int i = 0; i < 2; i++) {
         CHECK(map(bos[i], GBM_BO_TRANSFER_READ, &map_data)[63] == 100u + i);
         gbm_bo_unmap(bos[i], map_data);
      }
      gbm_bo_destroy(bos[0]);
      CHECK(map(bos[1], GBM_BO_TRANSFER_READ, &map_data)[63] == 101);
      gbm_bo_destroy(bos[1]);
   }
   for (int i = 0; i < 2; i++) {
      gbm_device_destroy(devices[i]);
      close(fds[i]);
   }
   return 0;
}
