/* A backend in Mesa's ABI, as small as one can be, for backends.c: it makes devices and buffers of nothing.
 *
 * BACKEND_VERSION is the version that it says it has, DEVICE_VERSION the one that its devices have instead of what was agreed on.
 */
#include "backend_abi.h"
#include <errno.h>
#include <stdlib.h>

static const struct core *core;

static void
device_destroy(struct device *device)
{
   free(device);
}

static int
is_format_supported(struct device *device, uint32_t format, uint32_t flags)
{
   (void)device;
   return core->format_canonicalize(format) == GBM_FORMAT_XRGB8888 && flags == GBM_BO_USE_LINEAR;
}

static struct bo *
bo_create(struct device *device, uint32_t width, uint32_t height, uint32_t format, uint32_t flags, const uint64_t *modifiers,
          unsigned int count)
{
   /* A refusal with an errno, and one without. */
   if (modifiers || count) {
      errno = ENOTSUP;
      return NULL;
   }
   if (flags)
      return NULL;
   struct bo *bo = calloc(1, sizeof *bo);
   *bo = (struct bo){device, width, height, width * 4, core->format_canonicalize(format), {.u32 = 42}, NULL, NULL};
   return bo;
}

static void
bo_destroy(struct bo *bo)
{
   free(bo);
}

static struct device *
create_device(int fd, uint32_t version)
{
#ifdef DEVICE_VERSION
   version = DEVICE_VERSION;
#endif
   struct device *device = calloc(1, sizeof *device);
   device->version = version;
   device->fd = fd;
   device->name = "nothing";
   device->destroy = device_destroy;
   device->is_format_supported = is_format_supported;
   device->bo_create = bo_create;
   device->bo_destroy = bo_destroy;
   return device;
}

static const struct backend backend = {BACKEND_VERSION, "nothing", create_device};

const struct backend *
gbmint_get_backend(const struct core *loader)
{
   core = loader;
   return core->version == 1 ? &backend : NULL;
}
