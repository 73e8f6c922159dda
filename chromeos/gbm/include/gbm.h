/* gbm.h: buffers for graphics, as minigbm's libgbm has them.
 *
 * Source and binary compatible with minigbm's header of the same name, and not with Mesa's: usage bits from 5 on, import codes and
 * the unit of gbm_bo_get_bpp are others. A program links the library of the header that it was built with. SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef _GBM_H_
#define _GBM_H_

#define __GBM__ 1
#define MINIGBM 1

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A device that allocates; a buffer of it; a chain of buffers that an EGL draws to. */
struct gbm_device;
struct gbm_bo;
struct gbm_surface;

/* A buffer's handle in the device's file: u32 for DRM. */
union gbm_bo_handle {
   void *ptr;
   int32_t s32;
   uint32_t u32;
   int64_t s64;
   uint64_t u64;
};

/* The two formats from before fourccs: taken wherever a format is, given nowhere. */
enum gbm_bo_format {
   GBM_BO_FORMAT_XRGB8888,
   GBM_BO_FORMAT_ARGB8888
};

/* Formats are fourccs of drm_fourcc.h: the first letter of a name is the highest bits of a little-endian word. */
#define __gbm_fourcc_code(a, b, c, d) \
   ((uint32_t)(a) | ((uint32_t)(b) << 8) | ((uint32_t)(c) << 16) | ((uint32_t)(d) << 24))

#define GBM_FORMAT_BIG_ENDIAN (1 << 31)

/* One and two channels. */
#define GBM_FORMAT_C8              __gbm_fourcc_code('C', '8', ' ', ' ')
#define GBM_FORMAT_R8              __gbm_fourcc_code('R', '8', ' ', ' ')
#define GBM_FORMAT_R16             __gbm_fourcc_code('R', '1', '6', ' ')
#define GBM_FORMAT_GR88            __gbm_fourcc_code('G', 'R', '8', '8')
#define GBM_FORMAT_RG1616          __gbm_fourcc_code('R', 'G', '3', '2')
#define GBM_FORMAT_GR1616          __gbm_fourcc_code('G', 'R', '3', '2')
#define GBM_FORMAT_RGB332          __gbm_fourcc_code('R', 'G', 'B', '8')
#define GBM_FORMAT_BGR233          __gbm_fourcc_code('B', 'G', 'R', '8')

/* Two bytes a pixel. */
#define GBM_FORMAT_XRGB4444        __gbm_fourcc_code('X', 'R', '1', '2')
#define GBM_FORMAT_XBGR4444        __gbm_fourcc_code('X', 'B', '1', '2')
#define GBM_FORMAT_RGBX4444        __gbm_fourcc_code('R', 'X', '1', '2')
#define GBM_FORMAT_BGRX4444        __gbm_fourcc_code('B', 'X', '1', '2')
#define GBM_FORMAT_ARGB4444        __gbm_fourcc_code('A', 'R', '1', '2')
#define GBM_FORMAT_ABGR4444        __gbm_fourcc_code('A', 'B', '1', '2')
#define GBM_FORMAT_RGBA4444        __gbm_fourcc_code('R', 'A', '1', '2')
#define GBM_FORMAT_BGRA4444        __gbm_fourcc_code('B', 'A', '1', '2')
#define GBM_FORMAT_XRGB1555        __gbm_fourcc_code('X', 'R', '1', '5')
#define GBM_FORMAT_XBGR1555        __gbm_fourcc_code('X', 'B', '1', '5')
#define GBM_FORMAT_RGBX5551        __gbm_fourcc_code('R', 'X', '1', '5')
#define GBM_FORMAT_BGRX5551        __gbm_fourcc_code('B', 'X', '1', '5')
#define GBM_FORMAT_ARGB1555        __gbm_fourcc_code('A', 'R', '1', '5')
#define GBM_FORMAT_ABGR1555        __gbm_fourcc_code('A', 'B', '1', '5')
#define GBM_FORMAT_RGBA5551        __gbm_fourcc_code('R', 'A', '1', '5')
#define GBM_FORMAT_BGRA5551        __gbm_fourcc_code('B', 'A', '1', '5')
#define GBM_FORMAT_RGB565          __gbm_fourcc_code('R', 'G', '1', '6')
#define GBM_FORMAT_BGR565          __gbm_fourcc_code('B', 'G', '1', '6')

/* Three and four bytes a pixel. */
#define GBM_FORMAT_RGB888          __gbm_fourcc_code('R', 'G', '2', '4')
#define GBM_FORMAT_BGR888          __gbm_fourcc_code('B', 'G', '2', '4')
#define GBM_FORMAT_XRGB8888        __gbm_fourcc_code('X', 'R', '2', '4')
#define GBM_FORMAT_XBGR8888        __gbm_fourcc_code('X', 'B', '2', '4')
#define GBM_FORMAT_RGBX8888        __gbm_fourcc_code('R', 'X', '2', '4')
#define GBM_FORMAT_BGRX8888        __gbm_fourcc_code('B', 'X', '2', '4')
#define GBM_FORMAT_ARGB8888        __gbm_fourcc_code('A', 'R', '2', '4')
#define GBM_FORMAT_ABGR8888        __gbm_fourcc_code('A', 'B', '2', '4')
#define GBM_FORMAT_RGBA8888        __gbm_fourcc_code('R', 'A', '2', '4')
#define GBM_FORMAT_BGRA8888        __gbm_fourcc_code('B', 'A', '2', '4')
#define GBM_FORMAT_XRGB2101010     __gbm_fourcc_code('X', 'R', '3', '0')
#define GBM_FORMAT_XBGR2101010     __gbm_fourcc_code('X', 'B', '3', '0')
#define GBM_FORMAT_RGBX1010102     __gbm_fourcc_code('R', 'X', '3', '0')
#define GBM_FORMAT_BGRX1010102     __gbm_fourcc_code('B', 'X', '3', '0')
#define GBM_FORMAT_ARGB2101010     __gbm_fourcc_code('A', 'R', '3', '0')
#define GBM_FORMAT_ABGR2101010     __gbm_fourcc_code('A', 'B', '3', '0')
#define GBM_FORMAT_RGBA1010102     __gbm_fourcc_code('R', 'A', '3', '0')
#define GBM_FORMAT_BGRA1010102     __gbm_fourcc_code('B', 'A', '3', '0')

/* Eight bytes a pixel, integers and half floats. */
#define GBM_FORMAT_XBGR16161616    __gbm_fourcc_code('X', 'B', '4', '8')
#define GBM_FORMAT_ABGR16161616    __gbm_fourcc_code('A', 'B', '4', '8')
#define GBM_FORMAT_XBGR16161616F   __gbm_fourcc_code('X', 'B', '4', 'H')
#define GBM_FORMAT_ABGR16161616F   __gbm_fourcc_code('A', 'B', '4', 'H')

/* Luma and chroma in one plane. */
#define GBM_FORMAT_YUYV            __gbm_fourcc_code('Y', 'U', 'Y', 'V')
#define GBM_FORMAT_YVYU            __gbm_fourcc_code('Y', 'V', 'Y', 'U')
#define GBM_FORMAT_UYVY            __gbm_fourcc_code('U', 'Y', 'V', 'Y')
#define GBM_FORMAT_VYUY            __gbm_fourcc_code('V', 'Y', 'U', 'Y')
#define GBM_FORMAT_AYUV            __gbm_fourcc_code('A', 'Y', 'U', 'V')

/* Luma, then chroma in pairs. */
#define GBM_FORMAT_NV12            __gbm_fourcc_code('N', 'V', '1', '2')
#define GBM_FORMAT_NV21            __gbm_fourcc_code('N', 'V', '2', '1')
#define GBM_FORMAT_NV16            __gbm_fourcc_code('N', 'V', '1', '6')
#define GBM_FORMAT_NV61            __gbm_fourcc_code('N', 'V', '6', '1')
#define GBM_FORMAT_P010            __gbm_fourcc_code('P', '0', '1', '0')

/* Luma, then chroma in two planes. */
#define GBM_FORMAT_YUV410          __gbm_fourcc_code('Y', 'U', 'V', '9')
#define GBM_FORMAT_YVU410          __gbm_fourcc_code('Y', 'V', 'U', '9')
#define GBM_FORMAT_YUV411          __gbm_fourcc_code('Y', 'U', '1', '1')
#define GBM_FORMAT_YVU411          __gbm_fourcc_code('Y', 'V', '1', '1')
#define GBM_FORMAT_YUV420          __gbm_fourcc_code('Y', 'U', '1', '2')
#define GBM_FORMAT_YVU420          __gbm_fourcc_code('Y', 'V', '1', '2')
#define GBM_FORMAT_YUV422          __gbm_fourcc_code('Y', 'U', '1', '6')
#define GBM_FORMAT_YVU422          __gbm_fourcc_code('Y', 'V', '1', '6')
#define GBM_FORMAT_YUV444          __gbm_fourcc_code('Y', 'U', '2', '4')
#define GBM_FORMAT_YVU444          __gbm_fourcc_code('Y', 'V', '2', '4')

/* A fourcc as a string. */
struct gbm_format_name_desc {
   char name[5];
};

/* What a buffer is for: a union of these. */
enum gbm_bo_flags {
   /* It is shown by the display controller. */
   GBM_BO_USE_SCANOUT = (1 << 0),
   /* It is shown as a cursor: ARGB8888, 64x64 on most devices. */
   GBM_BO_USE_CURSOR = (1 << 1),
   GBM_BO_USE_CURSOR_64X64 = GBM_BO_USE_CURSOR,
   /* The GPU draws to it. */
   GBM_BO_USE_RENDERING = (1 << 2),
   /* gbm_bo_write fills it. */
   GBM_BO_USE_WRITE = (1 << 3),
   /* Its rows lie one after the other. */
   GBM_BO_USE_LINEAR = (1 << 4),
   /* The GPU samples it. */
   GBM_BO_USE_TEXTURING = (1 << 5),
   /* A camera writes it, or reads it. */
   GBM_BO_USE_CAMERA_WRITE = (1 << 6),
   GBM_BO_USE_CAMERA_READ = (1 << 7),
   /* Nobody but protected hardware sees its content. */
   GBM_BO_USE_PROTECTED = (1 << 8),
   /* The CPU touches it: gbm_bo_map shows rows, however the buffer lies. */
   GBM_BO_USE_SW_READ_OFTEN = (1 << 9),
   GBM_BO_USE_SW_READ_RARELY = (1 << 10),
   GBM_BO_USE_SW_WRITE_OFTEN = (1 << 11),
   GBM_BO_USE_SW_WRITE_RARELY = (1 << 12),
   /* A decoder writes it, an encoder reads it. */
   GBM_BO_USE_HW_VIDEO_DECODER = (1 << 13),
   GBM_BO_USE_HW_VIDEO_ENCODER = (1 << 14),
   /* It gets no memory: it can be asked for the layout that a buffer would have, and nothing else. */
   GBM_TEST_ALLOC = (1 << 15),
   /* It is shown while it is drawn. */
   GBM_BO_USE_FRONT_RENDERING = (1 << 16),
   /* The GPU uses it as data, not as a picture. */
   GBM_BO_USE_GPU_DATA_BUFFER = (1 << 18),
   /* Sensors write events to it. */
   GBM_BO_USE_SENSOR_DIRECT_DATA = (1 << 19)
};

/* Devices. The descriptor stays the caller's, and stays open as long as the device. */
struct gbm_device *gbm_create_device(int fd);
void gbm_device_destroy(struct gbm_device *gbm);
int gbm_device_get_fd(struct gbm_device *gbm);
const char *gbm_device_get_backend_name(struct gbm_device *gbm);

/* 1 when gbm_bo_create of the format and flags can succeed, else 0. */
int gbm_device_is_format_supported(struct gbm_device *gbm, uint32_t format, uint32_t flags);

/* -1 when the device does not know the format with the modifier. */
int gbm_device_get_format_modifier_plane_count(struct gbm_device *gbm, uint32_t format, uint64_t modifier);

/* Making buffers: NULL and errno on failure. Where nothing is said, neither flags nor otherwise, a buffer is for whatever the host
 * has its format for, the screen included; a list is never empty where it is there. */
struct gbm_bo *gbm_bo_create(struct gbm_device *gbm, uint32_t width, uint32_t height, uint32_t format, uint32_t flags);
struct gbm_bo *gbm_bo_create_with_modifiers(struct gbm_device *gbm, uint32_t width, uint32_t height, uint32_t format,
                                            const uint64_t *modifiers, const unsigned int count);
struct gbm_bo *gbm_bo_create_with_modifiers2(struct gbm_device *gbm, uint32_t width, uint32_t height, uint32_t format,
                                             const uint64_t *modifiers, const unsigned int count, uint32_t flags);

/* What the argument of gbm_bo_import points to. */
#define GBM_BO_IMPORT_WL_BUFFER   0x5501
#define GBM_BO_IMPORT_EGL_IMAGE   0x5502
#define GBM_BO_IMPORT_FD          0x5503
#define GBM_BO_IMPORT_FD_PLANAR   0x5504
#define GBM_BO_IMPORT_FD_MODIFIER 0x5505

/* GBM_BO_IMPORT_FD: one plane at the start of the buffer, the modifier is not known. */
struct gbm_import_fd_data {
   int fd;
   uint32_t width;
   uint32_t height;
   uint32_t stride;
   uint32_t format;
};

#define GBM_MAX_PLANES 4

/* GBM_BO_IMPORT_FD_MODIFIER: strides and offsets in bytes, a descriptor for each plane or one for all of them. */
struct gbm_import_fd_modifier_data {
   uint32_t width;
   uint32_t height;
   uint32_t format;
   uint32_t num_fds;
   int fds[GBM_MAX_PLANES];
   int strides[GBM_MAX_PLANES];
   int offsets[GBM_MAX_PLANES];
   uint64_t modifier;
};

/* GBM_BO_IMPORT_FD_PLANAR, of programs from before 2020: a descriptor for each plane, and the same modifier for all. */
struct gbm_import_fd_planar_data {
   int fds[GBM_MAX_PLANES];
   uint32_t width;
   uint32_t height;
   uint32_t format;
   uint32_t strides[GBM_MAX_PLANES];
   uint32_t offsets[GBM_MAX_PLANES];
   uint64_t format_modifiers[GBM_MAX_PLANES];
};

/* The descriptors stay the caller's. */
struct gbm_bo *gbm_bo_import(struct gbm_device *gbm, uint32_t type, void *buffer, uint32_t flags);

/* What the CPU does through a mapping. */
enum gbm_bo_transfer_flags {
   GBM_BO_TRANSFER_READ = (1 << 0),
   /* Without READ, the contents are undefined until they are written. */
   GBM_BO_TRANSFER_WRITE = (1 << 1),
   GBM_BO_TRANSFER_READ_WRITE = (GBM_BO_TRANSFER_READ | GBM_BO_TRANSFER_WRITE)
};

/* Gives the address of the rectangle's first pixel, and in *stride the bytes from row to row. Mappings nest; *map_data, not the
 * address, goes to gbm_bo_unmap. */
void *gbm_bo_map(struct gbm_bo *bo, uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint32_t flags,
                 uint32_t *stride, void **map_data);
void gbm_bo_unmap(struct gbm_bo *bo, void *map_data);

/* The same for a plane: the address is that of the rectangle's first sample there, the rectangle is in pixels of the picture. */
void *gbm_bo_map2(struct gbm_bo *bo, uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint32_t flags,
                  uint32_t *stride, void **map_data, int plane);

/* How the CPU sees a mapping: write-combined memory is slow to read. The numbers are those of virtio-gpu. */
#define MINIGBM_HAS_GBM_BO_GET_MAP_INFO 1
enum gbm_bo_map_cache_mode {
   GBM_BO_MAP_CACHE_CACHED = 1,
   GBM_BO_MAP_CACHE_WC = 3
};

/* CACHED where that is known, else WC. */
enum gbm_bo_map_cache_mode gbm_bo_get_map_info(struct gbm_bo *bo);

/* Fills a buffer from its start with bytes as they lie in it, padding of rows included: 0, or -1 and errno. */
int gbm_bo_write(struct gbm_bo *bo, const void *buf, size_t count);

/* In pixels. */
uint32_t gbm_bo_get_width(struct gbm_bo *bo);
uint32_t gbm_bo_get_height(struct gbm_bo *bo);

/* In bytes; 0 for a plane that is not there. */
uint32_t gbm_bo_get_stride(struct gbm_bo *bo);
uint32_t gbm_bo_get_stride_for_plane(struct gbm_bo *bo, int plane);
uint32_t gbm_bo_get_offset(struct gbm_bo *bo, int plane);
uint32_t gbm_bo_get_plane_size(struct gbm_bo *bo, size_t plane);

uint32_t gbm_bo_get_format(struct gbm_bo *bo);

/* In bytes, of plane 0. */
uint32_t gbm_bo_get_bpp(struct gbm_bo *bo);

struct gbm_device *gbm_bo_get_device(struct gbm_bo *bo);
uint64_t gbm_bo_get_modifier(struct gbm_bo *bo);
int gbm_bo_get_plane_count(struct gbm_bo *bo);

/* Handles are the buffer's, and go with it. */
union gbm_bo_handle gbm_bo_get_handle(struct gbm_bo *bo);
union gbm_bo_handle gbm_bo_get_handle_for_plane(struct gbm_bo *bo, int plane);

/* A new descriptor each time, the caller's; -1 and errno on failure. */
int gbm_bo_get_fd(struct gbm_bo *bo);
int gbm_bo_get_fd_for_plane(struct gbm_bo *bo, int plane);
int gbm_bo_get_plane_fd(struct gbm_bo *bo, size_t plane);

/* destroy_user_data is called by gbm_bo_destroy, while the buffer is whole; not when other data take the place. */
void gbm_bo_set_user_data(struct gbm_bo *bo, void *data, void (*destroy_user_data)(struct gbm_bo *, void *));
void *gbm_bo_get_user_data(struct gbm_bo *bo);

void gbm_bo_destroy(struct gbm_bo *bo);

/* Surfaces: an EGL fills them. A locked buffer is released, not destroyed. */
struct gbm_surface *gbm_surface_create(struct gbm_device *gbm, uint32_t width, uint32_t height, uint32_t format,
                                       uint32_t flags);
struct gbm_surface *gbm_surface_create_with_modifiers(struct gbm_device *gbm, uint32_t width, uint32_t height,
                                                      uint32_t format, const uint64_t *modifiers,
                                                      const unsigned int count);
struct gbm_surface *gbm_surface_create_with_modifiers2(struct gbm_device *gbm, uint32_t width, uint32_t height,
                                                       uint32_t format, const uint64_t *modifiers,
                                                       const unsigned int count, uint32_t flags);
struct gbm_bo *gbm_surface_lock_front_buffer(struct gbm_surface *surface);
void gbm_surface_release_buffer(struct gbm_surface *surface, struct gbm_bo *bo);
int gbm_surface_has_free_buffers(struct gbm_surface *surface);
void gbm_surface_destroy(struct gbm_surface *surface);

/* Writes the fourcc as a string into desc, and gives it. */
char *gbm_format_get_name(uint32_t gbm_format, struct gbm_format_name_desc *desc);

#ifdef __cplusplus
}
#endif

#endif
