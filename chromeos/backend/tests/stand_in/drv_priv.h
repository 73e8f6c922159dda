/* Stands in for minigbm's drv.h and drv_priv.h: the fields that a driver sees, in two shapes that minigbm has had. SHAPE is 2023 or
 * 2026; the second has what came since then, at other places. */
#ifndef STAND_IN_DRV_PRIV_H
#define STAND_IN_DRV_PRIV_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DRV_MAX_PLANES 4
#define DRM_FORMAT_MOD_LINEAR 0ull
#define DRM_FORMAT_MOD_INVALID 0x00ffffffffffffffull

#define BO_USE_NONE 0
#define BO_USE_SCANOUT (1ull << 0)
#define BO_USE_CURSOR (1ull << 1)
#define BO_USE_RENDERING (1ull << 2)
#define BO_USE_LINEAR (1ull << 4)
#define BO_USE_TEXTURE (1ull << 5)
#define BO_USE_CAMERA_WRITE (1ull << 6)
#define BO_USE_CAMERA_READ (1ull << 7)
#define BO_USE_PROTECTED (1ull << 8)
#define BO_USE_SW_READ_OFTEN (1ull << 9)
#define BO_USE_SW_WRITE_OFTEN (1ull << 11)
#define BO_USE_HW_VIDEO_DECODER (1ull << 13)
#define BO_USE_HW_VIDEO_ENCODER (1ull << 14)
#define BO_USE_TEST_ALLOC (1ull << 15)
#define BO_USE_SENSOR_DIRECT_DATA (1ull << 19)
#define BO_USE_NON_GPU_HW                                                                                              \
   (BO_USE_SCANOUT | BO_USE_CAMERA_WRITE | BO_USE_CAMERA_READ | BO_USE_HW_VIDEO_ENCODER | BO_USE_HW_VIDEO_DECODER |    \
    BO_USE_SENSOR_DIRECT_DATA)

#define BO_MAP_READ 1
#define BO_MAP_WRITE 2

struct driver;

union bo_handle {
   void *ptr;
   int32_t s32;
   uint32_t u32;
   int64_t s64;
   uint64_t u64;
#if SHAPE >= 2026
   int fd;
#endif
};

struct drv_import_fd_data {
   int fds[DRV_MAX_PLANES];
   uint32_t strides[DRV_MAX_PLANES];
   uint32_t offsets[DRV_MAX_PLANES];
   uint64_t format_modifier;
   uint32_t width;
   uint32_t height;
   uint32_t format;
   uint32_t tiling;
   uint64_t use_flags;
};

struct vma {
   void *addr;
   size_t length;
   uint32_t handle;
   uint32_t map_flags;
   int32_t refcount;
   uint32_t map_strides[DRV_MAX_PLANES];
   void *priv;
};

struct rectangle {
   uint32_t x;
   uint32_t y;
   uint32_t width;
   uint32_t height;
};

struct mapping {
   struct vma *vma;
   struct rectangle rect;
   uint32_t refcount;
};

struct bo_metadata {
   uint32_t width;
   uint32_t height;
   uint32_t format;
   uint32_t tiling;
   size_t num_planes;
   uint32_t offsets[DRV_MAX_PLANES];
   uint32_t sizes[DRV_MAX_PLANES];
   uint32_t strides[DRV_MAX_PLANES];
   uint64_t format_modifier;
   uint64_t use_flags;
   size_t total_size;
#if SHAPE >= 2026
   bool cached;
#endif
   uint32_t blob_id;
   uint32_t map_info;
   int32_t memory_idx;
   int32_t physical_device_idx;
};

struct bo {
   struct driver *drv;
   struct bo_metadata meta;
   bool is_test_buffer;
   union bo_handle handle;
   void *priv;
};

struct format_metadata {
   uint32_t priority;
   uint32_t tiling;
   uint64_t modifier;
};

struct driver {
   int fd;
   const struct backend *backend;
   void *priv;
};

struct backend {
#if SHAPE >= 2026
   bool is_generic_backend;
#endif
   char *name;
   void (*preload)(bool load);
   int (*init)(struct driver *drv);
   void (*close)(struct driver *drv);
   int (*bo_create)(struct bo *bo, uint32_t width, uint32_t height, uint32_t format, uint64_t use_flags);
   int (*bo_create_with_modifiers)(struct bo *bo, uint32_t width, uint32_t height, uint32_t format, const uint64_t *modifiers,
                                   uint32_t count);
   int (*bo_compute_metadata)(struct bo *bo, uint32_t width, uint32_t height, uint32_t format, uint64_t use_flags,
                              const uint64_t *modifiers, uint32_t count);
   int (*bo_create_from_metadata)(struct bo *bo);
   int (*bo_release)(struct bo *bo);
   int (*bo_destroy)(struct bo *bo);
   int (*bo_import)(struct bo *bo, struct drv_import_fd_data *data);
#if SHAPE >= 2026
   int (*bo_export)(struct bo *bo, size_t plane);
   int (*bo_get_plane_fd)(struct bo *bo, size_t plane);
   bool (*is_protected_usage_permitted)(struct driver *drv);
#endif
   void *(*bo_map)(struct bo *bo, struct vma *vma, uint32_t map_flags);
   int (*bo_unmap)(struct bo *bo, struct vma *vma);
   int (*bo_invalidate)(struct bo *bo, struct mapping *mapping);
   int (*bo_flush)(struct bo *bo, struct mapping *mapping);
   void (*resolve_format_and_use_flags)(struct driver *drv, uint32_t format, uint64_t use_flags, uint32_t *out_format,
                                        uint64_t *out_use_flags);
   size_t (*num_planes_from_modifier)(struct driver *drv, uint32_t format, uint64_t modifier);
   int (*resource_info)(struct bo *bo, uint32_t strides[DRV_MAX_PLANES], uint32_t offsets[DRV_MAX_PLANES],
                        uint64_t *format_modifier);
   uint32_t (*get_max_texture_2d_size)(struct driver *drv);
};

/* drv_helpers.h */
void drv_add_combination(struct driver *drv, uint32_t format, struct format_metadata *metadata, uint64_t use_flags);

#endif
