/* virgbm_minigbm.h: a driver for minigbm's table, and what that calls (backend.c), without any structure of minigbm's.
 *
 * Functions that give an int give -errno on failure, and set errno too; descriptors and handles stay whose they are unless it is
 * said. Threads may call at once, also for one buffer. SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef VIRGBM_MINIGBM_H
#define VIRGBM_MINIGBM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The driver, named "virtio_gpu": &backend_virgbm goes into drv_backend_list of minigbm's drv.c in place of &backend_virtgpu. */
struct backend;
extern const struct backend backend_virgbm;

#define VIRGBM_MAX_PLANES 4

/* An open node; a buffer of it; the CPU's view of a buffer, which outlives the buffer. */
struct virgbm_device;
struct virgbm_buffer;
struct virgbm_view;

/* BO_USE_* for which a format can be had with a modifier. */
struct virgbm_combination {
   uint32_t format;
   uint64_t modifier;
   uint64_t use_flags;
};

/* What a buffer is to be. `count` modifiers, or none where the choice is the host's. */
struct virgbm_request {
   uint32_t width;
   uint32_t height;
   uint32_t format;
   uint64_t use_flags;
   const uint64_t *modifiers;
   uint32_t count;
};

/* Where a buffer's bytes lie, in bytes. */
struct virgbm_layout {
   uint32_t num_planes;
   uint32_t strides[VIRGBM_MAX_PLANES];
   uint32_t offsets[VIRGBM_MAX_PLANES];
   uint32_t sizes[VIRGBM_MAX_PLANES];
   uint64_t modifier;
   uint64_t total_size;
   /* Whether the CPU is known to map it through its caches; not told of a layout without a buffer. */
   bool cached;
};

/* What somebody says of a buffer: num_planes descriptors, strides and offsets, and what it was made for, 0 where nobody knows. */
struct virgbm_import {
   uint32_t width;
   uint32_t height;
   uint32_t format;
   uint64_t modifier;
   uint64_t use_flags;
   uint32_t num_planes;
   int fds[VIRGBM_MAX_PLANES];
   uint32_t strides[VIRGBM_MAX_PLANES];
   uint32_t offsets[VIRGBM_MAX_PLANES];
};

/* Opens the node of a descriptor, which stays the caller's and may be closed: NULL and errno where it is not served. Handles are
 * those of the descriptor's open file. */
struct virgbm_device *virgbm_open(int fd);
void virgbm_close(struct virgbm_device *device);

/* The combinations, from index 0 on; -ENOENT behind the last. */
int virgbm_get_combination(struct virgbm_device *device, size_t index, struct virgbm_combination *combination);

/* The planes of a format with a modifier, 0 for a format that is none. */
size_t virgbm_get_num_planes(struct virgbm_device *device, uint32_t format, uint64_t modifier);
uint32_t virgbm_get_largest_side(struct virgbm_device *device);

/* What a flexible format is on this host, and what of a usage it has. */
int virgbm_resolve(struct virgbm_device *device, uint32_t *format, uint64_t *use_flags);

/* The layout that virgbm_create would make; allocates nothing. */
int virgbm_compute_layout(struct virgbm_device *device, const struct virgbm_request *request, struct virgbm_layout *layout);

/* A buffer, the caller's to release; `cached` is as in the layout. The handle is the buffer's, closed with the last of all buffers and
 * views that have it. */
int virgbm_create(struct virgbm_device *device, const struct virgbm_request *request, struct virgbm_layout *layout,
                  uint32_t *handle, struct virgbm_buffer **buffer);
int virgbm_import(struct virgbm_device *device, const struct virgbm_import *import, bool *cached, uint32_t *handle,
                  struct virgbm_buffer **buffer);
void virgbm_release(struct virgbm_buffer *buffer);

/* A new descriptor, the caller's. */
int virgbm_export(struct virgbm_buffer *buffer);

/* Maps a whole buffer for reading (1), writing (2) or both: its first byte, or MAP_FAILED and errno. Nothing is brought nor sent. To
 * unmap it sends what was begun and not ended. */
void *virgbm_map(struct virgbm_buffer *buffer, uint32_t access, size_t *length, struct virgbm_view **view);
int virgbm_unmap(struct virgbm_view *view);

/* Before the CPU touches a rectangle, in pixels of the buffer, which may be any of the view's handle: waits for the GPU, and brings what
 * is to be read from a host that has a copy. What is written counts as unsent until it ends; to begin it again changes nothing. */
int virgbm_begin(struct virgbm_view *view, struct virgbm_buffer *buffer, uint32_t x, uint32_t y, uint32_t width, uint32_t height);

/* After it has: sends what was written to such a host, whether or not it was begun, and where `wait` says so waits until it is there. */
int virgbm_end(struct virgbm_view *view, struct virgbm_buffer *buffer, uint32_t x, uint32_t y, uint32_t width, uint32_t height,
               bool wait);

#endif
