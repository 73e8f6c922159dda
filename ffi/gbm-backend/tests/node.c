/* The backend in filter mode on a real node, with Mesa's own behind it: the handles of the caller's file, and what EGL makes of it.
 * The arguments are the node, and `display` where Mesa's EGL draws on it. VIRGL is in the environment where it draws with that. */
#include "check.h"
#include "stand_in.h"
#include <dlfcn.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define EGL_PLATFORM_GBM 0x31d7

/* From drm.h, which is not everywhere. */
struct drm_prime_handle {
   uint32_t handle, flags;
   int32_t fd;
};
#define DRM_IOCTL_SET_MASTER _IO('d', 0x1e)
#define DRM_IOCTL_DROP_MASTER _IO('d', 0x1f)
#define DRM_IOCTL_PRIME_HANDLE_TO_FD _IOWR('d', 0x2d, struct drm_prime_handle)

static int fd;

/* Which dma-buf a handle of the caller's file is; 0 for none. */
static ino_t
buffer_of_handle(uint32_t handle)
{
   struct drm_prime_handle prime = {handle, O_CLOEXEC | O_RDWR, -1};
   struct stat stat;
   if (ioctl(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime))
      return 0;
   CHECK(fstat(prime.fd, &stat) == 0);
   close(prime.fd);
   return stat.st_ino;
}

static ino_t
buffer_of_fd(int number)
{
   struct stat stat;
   CHECK(number >= 0 && fstat(number, &stat) == 0);
   CHECK((fcntl(number, F_GETFL) & O_ACCMODE) == O_RDWR && fcntl(number, F_GETFD) & FD_CLOEXEC);
   close(number);
   return stat.st_ino;
}

/* A buffer's handle is of the caller's file, and of the same dma-buf as its descriptors. */
static void
handle_is_the_callers(struct gbm_bo *bo)
{
   uint32_t handle = gbm_bo_get_handle(bo).u32;
   CHECK(handle == gbm_bo_get_handle_for_plane(bo, 0).u32);
   CHECK(buffer_of_handle(handle) == buffer_of_fd(gbm_bo_get_fd(bo)));
   CHECK(buffer_of_handle(handle) == buffer_of_fd(gbm_bo_get_fd_for_plane(bo, 0)));
}

static struct gbm_bo *
import(struct gbm_device *gbm, struct gbm_bo *bo)
{
   struct gbm_import_fd_data data = {
      gbm_bo_get_fd(bo), gbm_bo_get_width(bo), gbm_bo_get_height(bo), gbm_bo_get_stride(bo), gbm_bo_get_format(bo),
   };
   struct gbm_bo *twin = gbm_bo_import(gbm, GBM_BO_IMPORT_FD, &data, 0);
   CHECK(twin);
   close(data.fd);
   return twin;
}

static void
fill(struct gbm_bo *bo, int value)
{
   uint32_t stride;
   void *map_data, *pixels = gbm_bo_map(bo, 0, 0, 64, 64, GBM_BO_TRANSFER_READ_WRITE, &stride, &map_data);
   CHECK(pixels);
   memset(pixels, value, stride * 63 + 64);
   gbm_bo_unmap(bo, map_data);
}

static void
handles(struct gbm_device *gbm)
{
   static const uint32_t formats[] = {GBM_FORMAT_XRGB8888, GBM_FORMAT_R8, GBM_FORMAT_RGB565, GBM_FORMAT_NV12};
   for (size_t i = 0; i < COUNT(formats); i++) {
      struct gbm_bo *bo = gbm_bo_create(gbm, 64, 64, formats[i], 0);
      CHECK(bo && gbm_device_is_format_supported(gbm, formats[i], 0) == 1);
      handle_is_the_callers(bo);
      fill(bo, 7);
      uint32_t handle = gbm_bo_get_handle(bo).u32;
      gbm_bo_destroy(bo);
      CHECK(buffer_of_handle(handle) == 0);
   }

   /* One handle for a buffer and its import, whichever goes first. */
   for (int first = 0; first < 2; first++) {
      struct gbm_bo *bo = gbm_bo_create(gbm, 64, 64, GBM_FORMAT_XRGB8888, 0);
      struct gbm_bo *twins[] = {bo, import(gbm, bo)};
      uint32_t handle = gbm_bo_get_handle(bo).u32;
      CHECK(gbm_bo_get_handle(twins[1]).u32 == handle);
      gbm_bo_destroy(twins[first]);
      handle_is_the_callers(twins[!first]);
      gbm_bo_destroy(twins[!first]);
      CHECK(buffer_of_handle(handle) == 0);
   }
}

static int
start_egl(struct gbm_device *gbm)
{
   void *library = dlopen("libEGL.so.1", RTLD_NOW);
   CHECK(library);
   void *(*get_display)(unsigned, void *, const intptr_t *) = dlsym(library, "eglGetPlatformDisplay");
   unsigned (*initialize)(void *, int *, int *) = dlsym(library, "eglInitialize");
   CHECK(get_display && initialize);
   void *display = get_display(EGL_PLATFORM_GBM, gbm, NULL);
   return display && initialize(display, NULL, NULL);
}

int
main(int count, char **arguments)
{
   CHECK(count > 1);
   fd = open(arguments[1], O_RDWR | O_CLOEXEC);
   CHECK(fd >= 0);
   /* Whoever is master stays it, and whoever is not does not become it. */
   int is_primary = ioctl(fd, DRM_IOCTL_DROP_MASTER, NULL) == 0;
   struct gbm_device *gbm = gbm_create_device(fd);
   CHECK(gbm && strcmp(gbm_device_get_backend_name(gbm), "drm") == 0);
   CHECK(!is_primary || ioctl(fd, DRM_IOCTL_SET_MASTER, NULL) == 0);
   handles(gbm);

   struct gbm_bo *early = gbm_bo_create(gbm, 64, 64, GBM_FORMAT_XRGB8888, GBM_BO_USE_SCANOUT | GBM_BO_USE_RENDERING);
   CHECK(early);
   if (count > 2) {
      void *before = ((struct device *)gbm)->surface_lock_front_buffer;
      CHECK(start_egl(gbm) && ((struct device *)gbm)->surface_lock_front_buffer != before);
      errno = 0;
      struct gbm_bo *bo = gbm_bo_create(gbm, 64, 64, GBM_FORMAT_XRGB8888, GBM_BO_USE_SCANOUT | GBM_BO_USE_RENDERING);
      /* Without a GPU Mesa draws on the primary node only. */
      CHECK(!bo == !(is_primary || getenv("VIRGL")) && (bo || errno == EACCES));
      CHECK(gbm_device_is_format_supported(gbm, GBM_FORMAT_XRGB8888, GBM_BO_USE_RENDERING) == !!bo);
      if (bo) {
         /* What nobody has asked for, Mesa can't know: virgl's buffers are laid out by the host. */
         CHECK(gbm_bo_get_modifier(bo) == MOD_INVALID || !getenv("VIRGL"));
         handle_is_the_callers(bo);
         gbm_bo_destroy(bo);
      }
      bo = gbm_bo_create(gbm, 64, 64, GBM_FORMAT_XRGB8888, GBM_BO_USE_LINEAR);
      CHECK(bo);
      CHECK(gbm_bo_get_modifier(bo) == MOD_LINEAR || !getenv("VIRGL"));
      gbm_bo_destroy(bo);

      /* Mesa imports the early buffer, and closes the handle of both. */
      bo = import(gbm, early);
      handle_is_the_callers(bo);
      gbm_bo_destroy(bo);
      handle_is_the_callers(early);
      for (int i = 0; i < 2; i++) {
         bo = gbm_bo_create(gbm, 64, 64, i ? GBM_FORMAT_NV12 : GBM_FORMAT_R8, 0);
         CHECK(bo);
         handle_is_the_callers(bo);
         gbm_bo_destroy(bo);
      }
   }
   handle_is_the_callers(early);
   gbm_bo_destroy(early);
   gbm_device_destroy(gbm);
   close(fd);
   return 0;
}
