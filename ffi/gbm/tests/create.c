/* Buffers of every format, and what they tell of themselves. */
#include "program.h"
#include "formats.h"

static void
descriptors_are_new_and_for_writing(struct gbm_bo *bo)
{
   int fds[2] = {gbm_bo_get_fd(bo), gbm_bo_get_fd_for_plane(bo, 0)};
   CHECK(fds[0] >= 0 && fds[1] >= 0 && fds[0] != fds[1]);
   for (int i = 0; i < 2; i++) {
      CHECK((fcntl(fds[i], F_GETFL) & O_ACCMODE) == O_RDWR);
      CHECK(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
      close(fds[i]);
   }
}

static uint32_t
stride_alignment(void)
{
   const char *alignment = getenv("VIRGBM_STRIDE_ALIGN");
   return alignment ? atoi(alignment) : 1;
}

static void
every_format_tells_its_layout(struct gbm_device *gbm)
{
   for (size_t i = 0; i < COUNT(FORMATS); i++) {
      const struct format *format = &FORMATS[i];
      struct gbm_bo *bo = create(gbm, 129, 67, format->fourcc, GBM_BO_USE_LINEAR);
      CHECK(gbm_bo_get_width(bo) == 129 && gbm_bo_get_height(bo) == 67);
      CHECK(gbm_bo_get_format(bo) == format->fourcc && gbm_bo_get_bpp(bo) == format->bpp);
      CHECK(gbm_bo_get_device(bo) == gbm && gbm_bo_get_modifier(bo) == MOD_LINEAR);
      CHECK(gbm_bo_get_plane_count(bo) == format->planes);
      CHECK(gbm_bo_get_stride(bo) == gbm_bo_get_stride_for_plane(bo, 0));
      CHECK(gbm_bo_get_stride(bo) >= 129 * format->bpp * BPP_BITS / 8);
      CHECK(gbm_bo_get_offset(bo, 0) == 0);
      uint32_t handle = gbm_bo_get_handle(bo).u32, end = 0;
      for (int plane = 0; plane < format->planes; plane++) {
         CHECK(gbm_bo_get_stride_for_plane(bo, plane) >= 65);
         CHECK(gbm_bo_get_stride_for_plane(bo, plane) % stride_alignment() == 0);
         CHECK(gbm_bo_get_handle_for_plane(bo, plane).u32 == handle);
         CHECK(gbm_bo_get_offset(bo, plane) >= end);
         end = gbm_bo_get_offset(bo, plane) + gbm_bo_get_stride_for_plane(bo, plane) * 34;
         int fd = gbm_bo_get_fd_for_plane(bo, plane);
         CHECK(fd >= 0 && lseek(fd, 0, SEEK_END) >= end);
         close(fd);
      }
      const int outside[] = {format->planes, 4, -1, INT_MAX, INT_MIN};
      for (size_t j = 0; j < COUNT(outside); j++) {
         FAILS(gbm_bo_get_stride_for_plane(bo, outside[j]) == 0, EINVAL);
         FAILS(gbm_bo_get_offset(bo, outside[j]) == 0, EINVAL);
         FAILS(gbm_bo_get_handle_for_plane(bo, outside[j]).s32 == -1, EINVAL);
         FAILS(gbm_bo_get_fd_for_plane(bo, outside[j]) == -1, EINVAL);
      }
      descriptors_are_new_and_for_writing(bo);
      gbm_bo_destroy(bo);
   }
}

static void
test(struct gbm_device *gbm)
{
   every_format_tells_its_layout(gbm);

   /* The names from before fourccs are taken, and not given. */
   struct gbm_bo *bo = create(gbm, 64, 64, GBM_BO_FORMAT_XRGB8888, GBM_BO_USE_SCANOUT | GBM_BO_USE_RENDERING);
   CHECK(gbm_bo_get_format(bo) == GBM_FORMAT_XRGB8888);
   /* Which modifier that has is the host's to say. */
   CHECK(gbm_bo_get_modifier(bo) == MOD_LINEAR || gbm_bo_get_modifier(bo) == MOD_INVALID);
   gbm_bo_destroy(bo);

   /* What Mesa makes and can't export. */
   bo = create(gbm, 64, 64, GBM_FORMAT_ARGB8888, GBM_BO_USE_CURSOR | GBM_BO_USE_WRITE);
   descriptors_are_new_and_for_writing(bo);
   gbm_bo_destroy(bo);

   /* Many at a time, each with a handle of its own. */
   struct gbm_bo *many[100];
   for (size_t i = 0; i < COUNT(many); i++) {
      many[i] = create(gbm, 16, 16, GBM_FORMAT_R8, 0);
      CHECK(i == 0 || gbm_bo_get_handle(many[i]).u32 != gbm_bo_get_handle(many[i - 1]).u32);
   }
   for (size_t i = 0; i < COUNT(many); i++)
      gbm_bo_destroy(many[i]);
}
