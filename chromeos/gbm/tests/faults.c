/* What minigbm gets wrong, and this library must not. */
#include "program.h"

#define BOTH GBM_BO_TRANSFER_READ_WRITE
#define CPU (GBM_BO_USE_SW_READ_OFTEN | GBM_BO_USE_SW_WRITE_OFTEN)

static void
no_flags_are_flags(struct gbm_device *gbm)
{
   CHECK(gbm_device_is_format_supported(gbm, GBM_FORMAT_XRGB8888, 0) == 1);
   gbm_bo_destroy(create(gbm, 64, 64, GBM_FORMAT_XRGB8888, 0));
}

/* The layout is that of a real buffer; all that needs its memory fails; and there is none, however many and large they are. */
static void
test_allocations_have_no_memory(struct gbm_device *gbm)
{
   static const uint32_t formats[] = {GBM_FORMAT_XRGB8888, GBM_FORMAT_NV12, GBM_FORMAT_YVU420};
   uint32_t stride;
   void *map_data;
   for (size_t i = 0; i < COUNT(formats); i++) {
      struct gbm_bo *bo = create(gbm, 129, 67, formats[i], GBM_BO_USE_TEXTURING | CPU);
      struct gbm_bo *test = create(gbm, 129, 67, formats[i], GBM_BO_USE_TEXTURING | CPU | GBM_TEST_ALLOC);
      CHECK(gbm_bo_get_width(test) == 129 && gbm_bo_get_height(test) == 67 && gbm_bo_get_format(test) == formats[i]);
      CHECK(gbm_bo_get_modifier(test) == gbm_bo_get_modifier(bo));
      CHECK(gbm_bo_get_plane_count(test) == gbm_bo_get_plane_count(bo));
      for (int plane = 0; plane < gbm_bo_get_plane_count(bo); plane++) {
         CHECK(gbm_bo_get_stride_for_plane(test, plane) == gbm_bo_get_stride_for_plane(bo, plane));
         CHECK(gbm_bo_get_offset(test, plane) == gbm_bo_get_offset(bo, plane));
         CHECK(gbm_bo_get_plane_size(test, plane) == gbm_bo_get_plane_size(bo, plane));
      }
      FAILS(gbm_bo_get_fd(test) == -1, EINVAL);
      FAILS(gbm_bo_get_plane_fd(test, 0) == -1, EINVAL);
      FAILS(gbm_bo_get_handle_for_plane(test, 0).s32 == -1, EINVAL);
      CHECK(gbm_bo_get_handle(test).s32 == -1);
      FAILS(gbm_bo_map(test, 0, 0, 1, 1, BOTH, &stride, &map_data) == NULL, EINVAL);
      FAILS(gbm_bo_map2(test, 0, 0, 1, 1, BOTH, &stride, &map_data, 0) == NULL, EINVAL);
      FAILS(gbm_bo_write(test, "", 1) == -1, EINVAL);
      gbm_bo_unmap(test, NULL);
      gbm_bo_destroy(test);
      gbm_bo_destroy(bo);
   }
   struct gbm_bo *many[500];
   for (size_t i = 0; i < COUNT(many); i++)
      many[i] = create(gbm, 8192, 8192, GBM_FORMAT_XRGB8888, GBM_BO_USE_TEXTURING | GBM_TEST_ALLOC);
   for (size_t i = 0; i < COUNT(many); i++)
      gbm_bo_destroy(many[i]);
   FAILS(gbm_bo_create(gbm, 0, 64, GBM_FORMAT_XRGB8888, GBM_BO_USE_TEXTURING | GBM_TEST_ALLOC) == NULL, EINVAL);
   FAILS(gbm_bo_create(gbm, 64, 64, 0x3f3f3f3f, GBM_BO_USE_TEXTURING | GBM_TEST_ALLOC) == NULL, EINVAL);
}

static void
lists_of_modifiers_have_flags(struct gbm_device *gbm)
{
   const uint64_t linear[] = {MOD_LINEAR}, tiled[] = {MOD_TILED};
   uint32_t flags = GBM_BO_USE_TEXTURING | GBM_BO_USE_SW_WRITE_OFTEN;
   struct gbm_bo *bo = gbm_bo_create_with_modifiers2(gbm, 64, 64, GBM_FORMAT_XRGB8888, linear, 1, flags);
   CHECK(bo && gbm_bo_get_modifier(bo) == MOD_LINEAR);
   gbm_bo_destroy(bo);
   struct gbm_surface *surface = gbm_surface_create_with_modifiers2(gbm, 64, 64, GBM_FORMAT_XRGB8888, linear, 1, flags);
   CHECK(surface);
   gbm_surface_destroy(surface);
   FAILS(gbm_bo_create_with_modifiers2(gbm, 64, 64, GBM_FORMAT_XRGB8888, tiled, 1, flags) == NULL, ENOSYS);

   /* Without flags it can be shown where the host shows it, and NV12 is no less for that. */
   bo = gbm_bo_create_with_modifiers(gbm, 64, 64, GBM_FORMAT_NV12, linear, 1);
   CHECK(bo && gbm_bo_get_plane_count(bo) == 2);
   gbm_bo_destroy(bo);
}

static void
planes_are_counted(struct gbm_device *gbm)
{
   CHECK(gbm_device_get_format_modifier_plane_count(gbm, GBM_FORMAT_XRGB8888, MOD_LINEAR) == 1);
   CHECK(gbm_device_get_format_modifier_plane_count(gbm, GBM_FORMAT_NV12, MOD_LINEAR) == 2);
   CHECK(gbm_device_get_format_modifier_plane_count(gbm, GBM_FORMAT_YVU420, MOD_LINEAR) == 3);
}

static void
chroma_rounds_up(struct gbm_device *gbm)
{
   struct gbm_bo *bo = create(gbm, 65, 33, GBM_FORMAT_NV12, GBM_BO_USE_TEXTURING);
   CHECK(gbm_bo_get_stride_for_plane(bo, 1) >= 66);
   CHECK(gbm_bo_get_plane_size(bo, 1) >= gbm_bo_get_stride_for_plane(bo, 1) * 16 + 66);
   gbm_bo_destroy(bo);
}

/* Android's YV12, which minigbm knows by LINEAR. */
static void
linear_yv12_has_androids_strides(struct gbm_device *gbm)
{
   struct gbm_bo *bo = create(gbm, 129, 67, GBM_FORMAT_YVU420, GBM_BO_USE_LINEAR | CPU);
   CHECK(gbm_bo_get_format(bo) == GBM_FORMAT_YVU420 && gbm_bo_get_width(bo) == 129);
   CHECK(gbm_bo_get_stride(bo) % 32 == 0);
   CHECK(gbm_bo_get_stride_for_plane(bo, 1) == gbm_bo_get_stride(bo) / 2);
   CHECK(gbm_bo_get_offset(bo, 1) == gbm_bo_get_stride(bo) * 67);
   gbm_bo_destroy(bo);
}

static void
fill(struct gbm_bo *bo, uint32_t x, uint32_t y, uint32_t size, int luma, int chroma)
{
   /* Contents are undefined until they are written, in both planes. */
   uint32_t strides[2];
   void *map_data[2];
   unsigned char *at[2];
   for (int plane = 0; plane < 2; plane++) {
      at[plane] = gbm_bo_map2(bo, x, y, size, size, GBM_BO_TRANSFER_WRITE, &strides[plane], &map_data[plane], plane);
      CHECK(at[plane]);
   }
   for (uint32_t row = 0; row < size; row++)
      memset(at[0] + row * strides[0], luma, size);
   for (uint32_t row = 0; row < size / 2; row++)
      memset(at[1] + row * strides[1], chroma, size);
   gbm_bo_unmap(bo, map_data[0]);
   gbm_bo_unmap(bo, map_data[1]);
}

/* A rectangle of NV12 that is written reaches the host in both planes, and nothing else does. What a decoder may write is read from the
 * host, also where that has a copy. */
static void
rectangles_reach_both_planes(struct gbm_device *gbm)
{
   struct gbm_bo *bo = create(gbm, 64, 64, GBM_FORMAT_NV12, GBM_BO_USE_TEXTURING | GBM_BO_USE_HW_VIDEO_DECODER | CPU);
   fill(bo, 0, 0, 64, 0x11, 0x12);
   fill(bo, 16, 32, 16, 0x21, 0x22);
   for (int plane = 0; plane < 2; plane++) {
      uint32_t stride;
      void *map_data;
      unsigned char *at = gbm_bo_map2(bo, 0, 0, 64, 64, GBM_BO_TRANSFER_READ, &stride, &map_data, plane);
      CHECK(at);
      uint32_t top = plane ? 16 : 32, bottom = plane ? 24 : 48;
      for (uint32_t y = 0; y < (plane ? 32u : 64u); y++)
         for (uint32_t x = 0; x < 64; x++)
            CHECK(at[y * stride + x] == ((y >= top && y < bottom && x >= 16 && x < 32 ? 0x21 : 0x11) + plane));
      gbm_bo_unmap(bo, map_data);
   }
   gbm_bo_destroy(bo);
}

static int
count_mappings(void)
{
   char line[512];
   int count = 0;
   FILE *maps = fopen("/proc/self/maps", "r");
   CHECK(maps);
   while (fgets(line, sizeof line, maps))
      count++;
   fclose(maps);
   return count;
}

/* 200 rectangles are one mapping of the buffer, which goes with it. */
static void
unmap_unmaps(struct gbm_device *gbm)
{
   int before = count_mappings();
   struct gbm_bo *bo = create(gbm, 256, 256, GBM_FORMAT_XRGB8888, GBM_BO_USE_TEXTURING | CPU);
   for (uint32_t i = 0; i < 200; i++) {
      uint32_t stride;
      void *map_data;
      CHECK(gbm_bo_map(bo, i, i, 1 + i % 7, 1 + i % 5, BOTH, &stride, &map_data));
      gbm_bo_unmap(bo, map_data);
   }
   CHECK(count_mappings() <= before + 8);
   gbm_bo_destroy(bo);
}

/* The other planes' descriptors are not in that structure: nothing is imported, and the source lives. */
static void
planes_are_not_imported_by_one_fd(struct gbm_device *gbm)
{
   struct gbm_bo *bo = create(gbm, 64, 64, GBM_FORMAT_NV12, GBM_BO_USE_TEXTURING | CPU);
   struct gbm_import_fd_data data = {gbm_bo_get_fd(bo), 64, 64, gbm_bo_get_stride(bo), GBM_FORMAT_NV12};
   uint32_t stride;
   void *map_data;
   FAILS(gbm_bo_import(gbm, GBM_BO_IMPORT_FD, &data, GBM_BO_USE_TEXTURING) == NULL, EINVAL);
   CHECK(gbm_bo_map(bo, 0, 0, 64, 64, BOTH, &stride, &map_data));
   gbm_bo_unmap(bo, map_data);
   int fd = gbm_bo_get_fd(bo);
   CHECK(fd >= 0);
   close(fd);
   close(data.fd);
   gbm_bo_destroy(bo);
}

/* 4 GiB are no small buffer. */
static void
sizes_do_not_wrap(struct gbm_device *gbm)
{
   uint32_t format = GBM_FORMAT_ABGR16161616F;
   errno = 0;
   CHECK(gbm_bo_create(gbm, 32768, 16384, format, GBM_BO_USE_TEXTURING) == NULL);
   CHECK(errno);
   errno = 0;
   CHECK(gbm_bo_create(gbm, 32768, 32769, GBM_FORMAT_XRGB8888, GBM_BO_USE_TEXTURING) == NULL);
   CHECK(errno);
}

static void
test(struct gbm_device *gbm)
{
   no_flags_are_flags(gbm);
   test_allocations_have_no_memory(gbm);
   lists_of_modifiers_have_flags(gbm);
   planes_are_counted(gbm);
   chroma_rounds_up(gbm);
   linear_yv12_has_androids_strides(gbm);
   rectangles_reach_both_planes(gbm);
   unmap_unmaps(gbm);
   planes_are_not_imported_by_one_fd(gbm);
   sizes_do_not_wrap(gbm);
}
