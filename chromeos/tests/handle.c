/* The handle of ARC is at its places, in C and in C++. */
#include "../arc/cros_gralloc_handle.h"
#include <stddef.h>

#ifndef __cplusplus
#define static_assert _Static_assert
#endif
#define AT(field, offset) static_assert(offsetof(struct cros_gralloc_handle, field) == (offset), #field)

static_assert(sizeof(struct cros_gralloc_handle) == 156, "size");
static_assert(sizeof(native_handle_t) == 12, "base");
/* Descriptors and other words together. */
static_assert((sizeof(struct cros_gralloc_handle) - sizeof(native_handle_t)) / sizeof(int) == 36, "numFds + numInts");
AT(fds, 12);
AT(strides, 32);
AT(offsets, 48);
AT(sizes, 64);
AT(id, 80);
AT(width, 84);
AT(height, 88);
AT(format, 92);
AT(tiling, 96);
AT(format_modifier, 100);
AT(use_flags, 108);
AT(magic, 116);
AT(pixel_stride, 120);
AT(droid_format, 124);
AT(usage, 128);
AT(num_planes, 136);
AT(reserved_region_size, 140);
AT(total_size, 148);
