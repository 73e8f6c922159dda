/* Threads share a device, each with buffers of its own, and pass descriptors of one buffer around. */
#include "program.h"
#include <pthread.h>

#define THREADS 4
#define ROUNDS 100

static struct gbm_device *shared;
static int shared_fd;
static uint32_t shared_stride;

static void *
work(void *argument)
{
   unsigned char seed = (unsigned char)(size_t)argument;
   for (int round = 0; round < ROUNDS; round++) {
      uint32_t stride;
      void *map_data;
      struct gbm_bo *bo = create(shared, 33 + seed, 17 + round, GBM_FORMAT_XRGB8888, GBM_BO_USE_RENDERING);
      unsigned char *pixels = gbm_bo_map(bo, 1, 1, 16, 16, GBM_BO_TRANSFER_READ_WRITE, &stride, &map_data);
      CHECK(pixels);
      memset(pixels, seed, 64);
      CHECK(pixels[63] == seed);
      gbm_bo_unmap(bo, map_data);

      /* The same handle for all of them, closed by the last. */
      struct gbm_import_fd_data data = {shared_fd, 64, 64, shared_stride, GBM_FORMAT_XRGB8888};
      struct gbm_bo *import = gbm_bo_import(shared, GBM_BO_IMPORT_FD, &data, 0);
      CHECK(import);
      CHECK(gbm_bo_map(import, 0, 0, 64, 64, GBM_BO_TRANSFER_READ, &stride, &map_data));
      FAILS(gbm_bo_create(shared, 0, 1, GBM_FORMAT_XRGB8888, 0) == NULL, EINVAL);
      gbm_bo_destroy(import);
      gbm_bo_destroy(bo);
   }
   return NULL;
}

static void
test(struct gbm_device *gbm)
{
   struct gbm_bo *bo = create(gbm, 64, 64, GBM_FORMAT_XRGB8888, 0);
   shared = gbm;
   shared_fd = gbm_bo_get_fd(bo);
   shared_stride = gbm_bo_get_stride(bo);
   CHECK(shared_fd >= 0);

   pthread_t threads[THREADS];
   for (size_t i = 0; i < THREADS; i++)
      CHECK(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
   for (size_t i = 0; i < THREADS; i++)
      CHECK(pthread_join(threads[i], NULL) == 0);
   close(shared_fd);
   gbm_bo_destroy(bo);
}
