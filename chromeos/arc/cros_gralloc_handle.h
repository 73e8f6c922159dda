/* cros_gralloc_handle.h: the handle of a buffer in ARC and Android on minigbm's gralloc, as hwcomposers, Mesa's u_gralloc and the
 * container's Wayland bridge read it. Every field has its place for good.
 *
 * The handle is a native_handle_t: numFds descriptors of it are in use, num_planes of the planes and, where reserved_region_size is
 * not 0, one of that. SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef CROS_GRALLOC_HANDLE_H
#define CROS_GRALLOC_HANDLE_H

#include <stdint.h>

#ifdef __ANDROID__
#include <cutils/native_handle.h>
#else
/* What a program has without Android's headers. */
typedef struct native_handle {
   int version;
   int numFds;
   int numInts;
   int data[0];
} native_handle_t;
#endif

#ifndef DRV_MAX_PLANES
#define DRV_MAX_PLANES 4
#endif
#define DRV_MAX_FDS (DRV_MAX_PLANES + 1)
#define CROS_GRALLOC_MAGIC 0xABCDDCBA

#ifdef __cplusplus
struct __attribute__((packed)) cros_gralloc_handle : public native_handle_t {
#else
struct __attribute__((packed)) cros_gralloc_handle {
   /* native_handle_t: its size, and the words behind it that are descriptors and that are not. */
   int version;
   int numFds;
   int numInts;
#endif
   int32_t fds[DRV_MAX_FDS];
   /* Bytes, of each plane. */
   uint32_t strides[DRV_MAX_PLANES];
   uint32_t offsets[DRV_MAX_PLANES];
   uint32_t sizes[DRV_MAX_PLANES];
   uint32_t id;
   uint32_t width;
   uint32_t height;
   /* A DRM fourcc. */
   uint32_t format;
   uint32_t tiling;
   uint64_t format_modifier;
   /* BO_USE_*. */
   uint64_t use_flags;
   uint32_t magic;
   /* The stride of plane 0 in pixels. */
   uint32_t pixel_stride;
   /* HAL_PIXEL_FORMAT_*. */
   int32_t droid_format;
   /* BufferUsage. */
   int64_t usage;
   uint32_t num_planes;
   uint64_t reserved_region_size;
   uint64_t total_size;
};

typedef const struct cros_gralloc_handle *cros_gralloc_handle_t;

#endif
