/* Calls with arguments at random: each works or says why not, what is mapped can be touched, and nothing is left open.
 *
 * RANDOM_SEED and RANDOM_ROUNDS choose other ones, and more. */
#include "formats.h"
#include "program.h"

static unsigned int seed;

static uint32_t
below(uint32_t limit)
{
   return rand_r(&seed) % limit;
}

/* Numbers that are usual, odd, at a limit, or anything. */
static uint32_t
number(void)
{
   static const uint32_t limits[] = {0, 1, 2, 63, 64, 65, 4095, 4096, 16385, 1 << 24, INT_MAX, 1u << 31, UINT32_MAX};
   switch (below(4)) {
   case 0: return limits[below(COUNT(limits))];
   case 1: return (uint32_t)rand_r(&seed) << 1;
   default: return below(300);
   }
}

static uint32_t
format(void)
{
   return below(20) ? FORMATS[below(COUNT(FORMATS))].fourcc : number();
}

static uint32_t
flags(void)
{
   return below(3) ? below(128) & below(128) : number();
}

/* Every byte of a mapped rectangle is there: its first and its last are touched. */
static void
touch(struct gbm_bo *bo)
{
   uint32_t x = number(), y = number(), width = number(), height = number(), stride, bpp = gbm_bo_get_bpp(bo);
   void *map_data;
   if (below(2))
      x = 0, y = 0, width = gbm_bo_get_width(bo), height = gbm_bo_get_height(bo);
   errno = 0;
   unsigned char *pixels = gbm_bo_map(bo, x, y, width, height, below(5), &stride, &map_data);
   CHECK(pixels || errno);
   if (!pixels)
      return;
   CHECK((uint64_t)x + width <= gbm_bo_get_width(bo) && (uint64_t)y + height <= gbm_bo_get_height(bo));
   pixels[0] ^= 1;
   if (bpp)
      pixels[(size_t)(height - 1) * stride + (size_t)width * bpp * BPP_BITS / 8 - 1] ^= 1;
   /* Some are left to the buffer's end. */
   if (below(4))
      gbm_bo_unmap(bo, map_data);
}

static void
ask(struct gbm_bo *bo)
{
   static const char data[1 << 16];
   int plane = number();
   gbm_bo_get_stride_for_plane(bo, plane);
   gbm_bo_get_offset(bo, plane);
   gbm_bo_get_handle_for_plane(bo, plane);
   int fd = gbm_bo_get_fd_for_plane(bo, plane);
   if (fd >= 0)
      close(fd);
   gbm_bo_write(bo, data, below(sizeof data));
   gbm_bo_unmap(bo, (void *)(size_t)number());
}

/* An import of the buffer with one or two numbers wrong, or none. */
static void
import(struct gbm_device *gbm, struct gbm_bo *bo)
{
   struct gbm_import_fd_modifier_data data = {0};
   data.width = gbm_bo_get_width(bo);
   data.height = gbm_bo_get_height(bo);
   data.format = gbm_bo_get_format(bo);
   data.modifier = below(2) ? gbm_bo_get_modifier(bo) : MOD_INVALID;
   data.num_fds = gbm_bo_get_plane_count(bo);
   int fd = gbm_bo_get_fd(bo);
   for (int plane = 0; plane < GBM_MAX_PLANES; plane++) {
      data.fds[plane] = fd;
      data.strides[plane] = gbm_bo_get_stride_for_plane(bo, plane);
      data.offsets[plane] = gbm_bo_get_offset(bo, plane);
   }
   for (uint32_t i = below(3); i > 0; i--) {
      /* The words of the structure but for its descriptors. */
      uint32_t word = below(14);
      ((uint32_t *)&data)[word < 4 ? word : word + 4] = number();
   }
   errno = 0;
   struct gbm_bo *other = gbm_bo_import(gbm, GBM_BO_IMPORT_FD_MODIFIER, &data, flags());
   CHECK(other || errno);
   close(fd);
   if (!other)
      return;
   touch(other);
   ask(other);
   gbm_bo_destroy(other);
}

static void
test(struct gbm_device *gbm)
{
   const char *rounds = getenv("RANDOM_ROUNDS"), *start = getenv("RANDOM_SEED");
   seed = start ? atoi(start) : 1;
   int made = 0;
   for (int round = rounds ? atoi(rounds) : 3000; round > 0; round--) {
      const uint64_t modifiers[] = {number(), MOD_TILED, below(2) ? MOD_LINEAR : MOD_INVALID};
      struct gbm_bo *bo;
      errno = 0;
      if (below(2))
         bo = gbm_bo_create(gbm, number(), number(), format(), flags());
      else
         bo = gbm_bo_create_with_modifiers2(gbm, number(), number(), format(), modifiers, below(4), flags());
      CHECK(bo || errno);
      gbm_device_is_format_supported(gbm, format(), flags());
      if (!bo)
         continue;
      made++;
      touch(bo);
      ask(bo);
      import(gbm, bo);
      gbm_bo_destroy(bo);
   }
   CHECK(made > 0);
}
