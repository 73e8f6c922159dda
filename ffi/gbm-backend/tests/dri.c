/* A stand-in for Mesa's dri_gbm.so, with what Mesa's does on virtio-gpu: it claims formats that it does not make, fails without an
 * errno, exports for reading only, says LINEAR of everything, checks no rectangle and no plane, and has no functions for surfaces
 * until EGL brings them. MESA_REFUSES=device in the environment: it makes no device, MESA_REFUSES=bo: no buffer. */
#include "check.h"
#include "stand_in.h"

struct private_device {
   struct device public;
   int private;
};

struct private_bo {
   struct bo public;
   int memory;
   char *mapped;
};

struct mesa_counts mesa_counts;

static int
refuses(const char *what)
{
   const char *value = getenv("MESA_REFUSES");
   return value && strcmp(value, what) == 0;
}

static void
device_destroy(struct device *device)
{
   CHECK(((struct private_device *)device)->private == 42);
   CHECK(mesa_counts.bos == 0 && mesa_counts.surfaces == 0);
   mesa_counts.devices--;
   free(device);
}

static int
is_format_supported(struct device *device, uint32_t format, uint32_t flags)
{
   (void)device, (void)flags;
   return format == GBM_FORMAT_XRGB8888 || format == GBM_FORMAT_R8 || format == FORMAT_MADE || format == FORMAT_CLAIMED;
}

static int
plane_count(struct device *device, uint32_t format, uint64_t modifier)
{
   return is_format_supported(device, format, 0) && modifier == 0 ? 1 : -1;
}

static struct bo *
bo_new(struct device *device, uint32_t width, uint32_t height, uint32_t stride, uint32_t format)
{
   CHECK(((struct private_device *)device)->private == 42);
   struct private_bo *bo = calloc(1, sizeof *bo);
   bo->public = (struct bo){device, width, height, stride, format, {.u64 = 0x1000 + mesa_counts.bos}, NULL, NULL};
   bo->memory = memfd_create("bo", MFD_CLOEXEC);
   CHECK(ftruncate(bo->memory, (off_t)stride * height) == 0);
   bo->mapped = mmap(NULL, (size_t)stride * height, PROT_READ | PROT_WRITE, MAP_SHARED, bo->memory, 0);
   CHECK(bo->mapped != MAP_FAILED);
   mesa_counts.bos++;
   return &bo->public;
}

static struct bo *
bo_create(struct device *device, uint32_t width, uint32_t height, uint32_t format, uint32_t flags, const uint64_t *modifiers,
          unsigned int count)
{
   (void)flags;
   if (refuses("bo")) {
      errno = EACCES;
      return NULL;
   }
   if (count == 1 && modifiers[0] == MOD_INVALID)
      return NULL;
   if (format != GBM_FORMAT_XRGB8888 && format != FORMAT_MADE) {
      errno = EINVAL;
      return NULL;
   }
   return bo_new(device, width, height, width * 4 + 64, format);
}

static struct bo *
bo_import(struct device *device, uint32_t kind, void *argument, uint32_t flags)
{
   (void)flags;
   mesa_counts.imports++;
   if (kind == GBM_BO_IMPORT_WL_BUFFER)
      return bo_new(device, 64, 64, MESA_STRIDE, GBM_FORMAT_XRGB8888);
   const struct gbm_import_fd_data *data = argument;
   if (kind == GBM_BO_IMPORT_FD)
      return bo_new(device, data->width, data->height, data->stride, data->format);
   errno = ENOSYS;
   return NULL;
}

static void *
bo_map(struct bo *bo, uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint32_t flags, uint32_t *stride, void **map_data)
{
   CHECK(x + width <= bo->width && y + height <= bo->height && flags);
   *stride = bo->stride;
   *map_data = bo;
   return ((struct private_bo *)bo)->mapped + y * bo->stride + x * 4;
}

static void
bo_unmap(struct bo *bo, void *map_data)
{
   CHECK(map_data == bo);
}

static int
bo_write(struct bo *bo, const void *data, size_t count)
{
   CHECK(count <= (size_t)bo->stride * bo->height);
   memcpy(((struct private_bo *)bo)->mapped, data, count);
   return 0;
}

static int
bo_get_fd(struct bo *bo)
{
   char path[64];
   snprintf(path, sizeof path, "/proc/self/fd/%d", ((struct private_bo *)bo)->memory);
   return open(path, O_RDONLY | O_CLOEXEC);
}

static int
bo_get_planes(struct bo *bo)
{
   (void)bo;
   return 1;
}

static union gbm_bo_handle
bo_get_handle(struct bo *bo, int plane)
{
   CHECK(plane == 0);
   return bo->handle;
}

static int
bo_get_plane_fd(struct bo *bo, int plane)
{
   CHECK(plane == 0);
   return bo_get_fd(bo);
}

static uint32_t
bo_get_stride(struct bo *bo, int plane)
{
   CHECK(plane == 0);
   return bo->stride;
}

static uint32_t
bo_get_offset(struct bo *bo, int plane)
{
   (void)bo;
   CHECK(plane == 0);
   return 0;
}

static uint64_t
bo_get_modifier(struct bo *bo)
{
   (void)bo;
   return 0;
}

static void
bo_destroy(struct bo *bo)
{
   struct private_bo *private = (struct private_bo *)bo;
   munmap(private->mapped, (size_t)bo->stride * bo->height);
   close(private->memory);
   mesa_counts.bos--;
   free(bo);
}

static struct surface *
surface_create(struct device *device, uint32_t width, uint32_t height, uint32_t format, uint32_t flags, const uint64_t *modifiers,
               unsigned int count)
{
   (void)modifiers, (void)count;
   struct surface *surface = calloc(1, sizeof *surface);
   *surface = (struct surface){device, width, height, format, flags, NULL, 0};
   mesa_counts.surfaces++;
   return surface;
}

static void
surface_destroy(struct surface *surface)
{
   mesa_counts.surfaces--;
   free(surface);
}

static struct device *
create_device(int fd, uint32_t version)
{
   if (refuses("device"))
      return NULL;
   struct private_device *device = calloc(1, sizeof *device);
   device->public = (struct device){
      NULL, NULL, version, fd, "drm", device_destroy, is_format_supported, plane_count, bo_create, bo_import, bo_map, bo_unmap,
      bo_write, bo_get_fd, bo_get_planes, bo_get_handle, bo_get_plane_fd, bo_get_stride, bo_get_offset, bo_get_modifier, bo_destroy,
      surface_create, NULL, NULL, NULL, surface_destroy,
   };
   device->private = 42;
   mesa_counts.devices++;
   return &device->public;
}

static const struct backend backend = {1, "dri", create_device};

const struct backend *
gbmint_get_backend(const struct core *core)
{
   CHECK(core && core->format_canonicalize(GBM_BO_FORMAT_XRGB8888) == GBM_FORMAT_XRGB8888);
   return &backend;
}
