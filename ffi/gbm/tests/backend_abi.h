/* The structures of gbm_backend_abi.h, as a backend and its loader see them. */
#ifndef BACKEND_ABI_H
#define BACKEND_ABI_H

#include <gbm.h>
#include <stddef.h>

struct core {
   uint32_t version;
   uint32_t (*format_canonicalize)(uint32_t);
};

struct bo {
   struct device *device;
   uint32_t width, height, stride, format;
   union gbm_bo_handle handle;
   void *user_data;
   void (*destroy_user_data)(struct bo *, void *);
};

struct surface {
   struct device *device;
   uint32_t width, height, format, flags;
   uint64_t *modifiers;
   unsigned int count;
};

struct device {
   struct gbm_device *(*dummy)(int);
   void *backend_desc;
   uint32_t version;
   int fd;
   const char *name;
   void (*destroy)(struct device *);
   int (*is_format_supported)(struct device *, uint32_t, uint32_t);
   int (*plane_count)(struct device *, uint32_t, uint64_t);
   struct bo *(*bo_create)(struct device *, uint32_t, uint32_t, uint32_t, uint32_t, const uint64_t *, unsigned int);
   struct bo *(*bo_import)(struct device *, uint32_t, void *, uint32_t);
   void *(*bo_map)(struct bo *, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t *, void **);
   void (*bo_unmap)(struct bo *, void *);
   int (*bo_write)(struct bo *, const void *, size_t);
   int (*bo_get_fd)(struct bo *);
   int (*bo_get_planes)(struct bo *);
   union gbm_bo_handle (*bo_get_handle)(struct bo *, int);
   int (*bo_get_plane_fd)(struct bo *, int);
   uint32_t (*bo_get_stride)(struct bo *, int);
   uint32_t (*bo_get_offset)(struct bo *, int);
   uint64_t (*bo_get_modifier)(struct bo *);
   void (*bo_destroy)(struct bo *);
   struct surface *(*surface_create)(struct device *, uint32_t, uint32_t, uint32_t, uint32_t, const uint64_t *, unsigned int);
   struct bo *(*surface_lock_front_buffer)(struct surface *);
   void (*surface_release_buffer)(struct surface *, struct bo *);
   int (*surface_has_free_buffers)(struct surface *);
   void (*surface_destroy)(struct surface *);
};

struct backend {
   uint32_t version;
   const char *name;
   struct device *(*create_device)(int, uint32_t);
};

_Static_assert(sizeof(struct device) == 200 && offsetof(struct device, bo_destroy) == 152, "device");
_Static_assert(sizeof(struct bo) == 48 && sizeof(struct surface) == 40, "bo and surface");

#endif
