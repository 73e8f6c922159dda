/* The caller's pointer at a buffer, and when its destructor runs. */
#include "program.h"

static int destroyed;

static void
destroy(struct gbm_bo *bo, void *data)
{
   /* The buffer is whole. */
   CHECK(data == &destroyed && gbm_bo_get_user_data(bo) == data);
   CHECK(gbm_bo_get_width(bo) == 32 && gbm_bo_get_stride(bo) >= 128);
   uint32_t stride;
   void *map_data, *pixels = gbm_bo_map(bo, 0, 0, 32, 32, GBM_BO_TRANSFER_READ, &stride, &map_data);
   CHECK(pixels && *(unsigned char *)pixels == 7);
   gbm_bo_unmap(bo, map_data);
   destroyed++;
}

static void
never(struct gbm_bo *bo, void *data)
{
   (void)bo, (void)data;
   CHECK(!"called");
}

static void
test(struct gbm_device *gbm)
{
   struct gbm_bo *bo = create(gbm, 32, 32, GBM_FORMAT_XRGB8888, GBM_BO_USE_WRITE);
   unsigned char first = 7;
   CHECK(gbm_bo_write(bo, &first, 1) == 0);
   CHECK(gbm_bo_get_user_data(bo) == NULL);
   gbm_bo_set_user_data(bo, &first, never);
   CHECK(gbm_bo_get_user_data(bo) == &first);
   gbm_bo_set_user_data(bo, &destroyed, destroy);
   CHECK(destroyed == 0);
   gbm_bo_destroy(bo);
   CHECK(destroyed == 1);

   bo = create(gbm, 32, 32, GBM_FORMAT_XRGB8888, 0);
   gbm_bo_set_user_data(bo, &first, never);
   gbm_bo_set_user_data(bo, NULL, NULL);
   gbm_bo_destroy(bo);
   bo = create(gbm, 32, 32, GBM_FORMAT_XRGB8888, 0);
   gbm_bo_set_user_data(bo, &first, NULL);
   gbm_bo_destroy(bo);
}
