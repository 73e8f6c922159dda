/* A loader of each version, and what the backend makes for it. The argument is the backend. */
#include "check.h"
#include "stand_in.h"
#include <dlfcn.h>

static uint32_t
canonicalize(uint32_t format)
{
   return format == GBM_BO_FORMAT_XRGB8888 ? GBM_FORMAT_XRGB8888 : format;
}

int
main(int count, char **arguments)
{
   static const struct core core = {1, canonicalize};
   CHECK(count == 2);
   void *library = dlopen(arguments[1], RTLD_NOW | RTLD_GLOBAL);
   if (!library)
      fprintf(stderr, "%s\n", dlerror());
   CHECK(library);
   const struct backend *(*get_backend)(const struct core *) = dlsym(library, "gbmint_get_backend");
   CHECK(get_backend);
   FAILS(get_backend(NULL) == NULL, EINVAL);
   const struct backend *backend = get_backend(&core);
   CHECK(backend && backend->version == 1 && strcmp(backend->name, "virtio_gpu") == 0);

   int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
   FAILS(backend->create_device(-1, 1) == NULL, EINVAL);
   for (uint32_t version = 0; version < 8; version++) {
      struct device *device = backend->create_device(fd, version);
      CHECK(device && device->version == (version ? 1 : 0) && device->fd == fd && !device->dummy && !device->backend_desc);
      device->destroy(device);
   }
   close(fd);
   return 0;
}
