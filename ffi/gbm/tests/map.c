/* The CPU's access: mappings of rectangles, nested ones, and gbm_bo_write. */
#include "program.h"

#define BOTH GBM_BO_TRANSFER_READ_WRITE

static void
rectangles(struct gbm_device *gbm, uint32_t flags)
{
   struct gbm_bo *bo = create(gbm, 100, 50, GBM_FORMAT_XRGB8888, flags);
   uint32_t stride, inner_stride, x, y;
   void *map_data, *inner_data;
   char *pixels = gbm_bo_map(bo, 0, 0, 100, 50, BOTH, &stride, &map_data);
   CHECK(pixels && map_data && stride >= 400);
   for (y = 0; y < 50; y++)
      for (x = 0; x < 100; x++)
         ((uint32_t *)(pixels + y * stride))[x] = y << 16 | x;

   /* Nested, with the rectangle's first pixel first. */
   char *inner = gbm_bo_map(bo, 17, 23, 5, 4, BOTH, &inner_stride, &inner_data);
   CHECK(inner && inner_data != map_data);
   CHECK(*(uint32_t *)inner == (23 << 16 | 17));
   CHECK(((uint32_t *)(inner + 3 * inner_stride))[4] == (26 << 16 | 21));
   *(uint32_t *)inner = 0xdeadbeef;
   gbm_bo_unmap(bo, map_data);
   CHECK(*(uint32_t *)inner == 0xdeadbeef);
   gbm_bo_unmap(bo, inner_data);

   /* It is in the exported buffer too. */
   int fd = gbm_bo_get_fd(bo);
   stride = gbm_bo_get_stride(bo);
   char *seen = mmap(NULL, stride * 50, PROT_READ, MAP_SHARED, fd, 0);
   CHECK(seen != MAP_FAILED);
   CHECK(((uint32_t *)(seen + 23 * stride))[17] == 0xdeadbeef);
   CHECK(((uint32_t *)(seen + 49 * stride))[99] == (49 << 16 | 99));
   munmap(seen, stride * 50);
   close(fd);

   const uint32_t outside[][4] = {
      {0, 0, 101, 50}, {0, 0, 100, 51}, {100, 0, 1, 1}, {0, 50, 1, 1}, {1, 0, UINT32_MAX, 1}, {UINT32_MAX, 0, 1, 1},
      {0, UINT32_MAX, 1, UINT32_MAX}, {0, 0, 0, 1}, {0, 0, 1, 0},
   };
   for (size_t i = 0; i < COUNT(outside); i++) {
      const uint32_t *at = outside[i];
      FAILS(gbm_bo_map(bo, at[0], at[1], at[2], at[3], BOTH, &stride, &map_data) == NULL, EINVAL);
   }
   FAILS(gbm_bo_map(bo, 0, 0, 1, 1, 0, &stride, &map_data) == NULL, EINVAL);
   FAILS(gbm_bo_map(bo, 0, 0, 1, 1, 4, &stride, &map_data) == NULL, EINVAL);
   FAILS(gbm_bo_map(bo, 0, 0, 1, 1, 257, &stride, &map_data) == NULL, EINVAL);
   FAILS(gbm_bo_map(bo, 0, 0, 1, 1, BOTH, NULL, &map_data) == NULL, EINVAL);
   FAILS(gbm_bo_map(bo, 0, 0, 1, 1, BOTH, &stride, NULL) == NULL, EINVAL);

   /* What is not mapped can't be unmapped, and what is mapped goes with the buffer. */
   gbm_bo_unmap(bo, NULL);
   gbm_bo_unmap(bo, map_data);
   gbm_bo_unmap(bo, (void *)-1);
   CHECK(gbm_bo_map(bo, 0, 0, 1, 1, BOTH, &stride, &map_data));
   gbm_bo_destroy(bo);
}

static void
writes(struct gbm_device *gbm, uint32_t format, uint32_t flags)
{
   struct gbm_bo *bo = create(gbm, 64, 64, format, flags);
   uint32_t stride;
   void *map_data;
   unsigned char *pixels;
   int fd = gbm_bo_get_fd(bo);
   size_t size = lseek(fd, 0, SEEK_END);
   close(fd);

   unsigned char *data = malloc(size);
   CHECK(data && size >= 64 * 64 * 4);
   memset(data, 0x5a, size);
   CHECK(gbm_bo_write(bo, data, 64 * 64 * 4) == 0);
   memset(data, 0xa5, size);
   /* Short ones leave the rest. */
   CHECK(gbm_bo_write(bo, data, 257) == 0);
   CHECK(gbm_bo_write(bo, data, 0) == 0);
   CHECK(gbm_bo_write(bo, NULL, 0) == 0);
   pixels = gbm_bo_map(bo, 0, 0, 64, 64, GBM_BO_TRANSFER_READ, &stride, &map_data);
   CHECK(pixels && stride == 256);
   CHECK(pixels[0] == 0xa5 && pixels[256] == 0xa5 && pixels[257] == 0x5a && pixels[64 * 256 - 1] == 0x5a);
   gbm_bo_unmap(bo, map_data);
   FAILS(gbm_bo_write(bo, data, size + 1) == -1, EINVAL);
   FAILS(gbm_bo_write(bo, data, SIZE_MAX) == -1, EINVAL);
   FAILS(gbm_bo_write(bo, NULL, 1) == -1, EINVAL);
   free(data);
   gbm_bo_destroy(bo);
}

/* Every plane of a mapped buffer is where its offsets say. */
static void
planes(struct gbm_device *gbm)
{
   struct gbm_bo *bo = create(gbm, 65, 33, GBM_FORMAT_NV12, 0);
   uint32_t stride, chroma = gbm_bo_get_offset(bo, 1) + 16 * gbm_bo_get_stride_for_plane(bo, 1);
   void *map_data;
   unsigned char *bytes = gbm_bo_map(bo, 0, 0, 65, 33, BOTH, &stride, &map_data);
   CHECK(bytes && stride == gbm_bo_get_stride(bo));
   bytes[chroma + 65] = 77;
   gbm_bo_unmap(bo, map_data);
   int fd = gbm_bo_get_fd(bo);
   unsigned char *seen = mmap(NULL, chroma + 66, PROT_READ, MAP_SHARED, fd, 0);
   CHECK(seen != MAP_FAILED && seen[chroma + 65] == 77);
   munmap(seen, chroma + 66);
   close(fd);
   gbm_bo_destroy(bo);
}

static void
test(struct gbm_device *gbm)
{
   rectangles(gbm, GBM_BO_USE_LINEAR);
   rectangles(gbm, GBM_BO_USE_SCANOUT | GBM_BO_USE_RENDERING);
   writes(gbm, GBM_FORMAT_ARGB8888, GBM_BO_USE_CURSOR | GBM_BO_USE_WRITE);
   writes(gbm, GBM_FORMAT_XRGB8888, GBM_BO_USE_SCANOUT);
   planes(gbm);

   /* What nobody may see has no mapping; memory of this host is not protected. */
   FAILS(gbm_bo_create(gbm, 64, 64, GBM_FORMAT_XRGB8888, GBM_BO_USE_PROTECTED) == NULL, EINVAL);
}
