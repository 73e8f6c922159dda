/* backend_virgbm: a driver of minigbm's for virtio-gpu, compiled with minigbm's own drv_priv.h: the layout of its structures is its
 * own affair. `chromeos/backend/install` finds out which fields this minigbm has:
 *
 *   VIRGBM_HAS_CACHED           bo_metadata.cached, since 2024
 *   VIRGBM_HAS_BO_EXPORT        backend.bo_export, since 2025
 *   VIRGBM_HAS_BO_GET_PLANE_FD  backend.bo_get_plane_fd, the same under another name
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <errno.h>
#include <string.h>

#include "drv_helpers.h"
#include "drv_priv.h"
#include "virgbm_minigbm.h"

_Static_assert(DRV_MAX_PLANES == VIRGBM_MAX_PLANES, "planes");
_Static_assert(BO_MAP_READ == 1 && BO_MAP_WRITE == 2, "access");

static int
virgbm_init(struct driver *drv)
{
   struct virgbm_combination combination;
   struct virgbm_device *device = virgbm_open(drv->fd);
   if (!device)
      return -errno;
   for (size_t i = 0; virgbm_get_combination(device, i, &combination) == 0; i++) {
      struct format_metadata metadata = {.priority = 1, .modifier = combination.modifier};
      drv_add_combination(drv, combination.format, &metadata, combination.use_flags);
   }
   drv->priv = device;
   return 0;
}

static void
virgbm_fini(struct driver *drv)
{
   virgbm_close(drv->priv);
   drv->priv = NULL;
}

static void
tell_layout(struct bo *bo, const struct virgbm_layout *layout)
{
   bo->meta.num_planes = layout->num_planes;
   memcpy(bo->meta.strides, layout->strides, sizeof bo->meta.strides);
   memcpy(bo->meta.offsets, layout->offsets, sizeof bo->meta.offsets);
   memcpy(bo->meta.sizes, layout->sizes, sizeof bo->meta.sizes);
   bo->meta.format_modifier = layout->modifier;
   bo->meta.total_size = layout->total_size;
#ifdef VIRGBM_HAS_CACHED
   bo->meta.cached = layout->cached;
#endif
}

static int
compute_metadata(struct bo *bo, uint32_t width, uint32_t height, uint32_t format, uint64_t use_flags, const uint64_t *modifiers,
                 uint32_t count)
{
   const struct virgbm_request request = {width, height, format, use_flags, modifiers, count};
   struct virgbm_layout layout;
   int ret = virgbm_compute_layout(bo->drv->priv, &request, &layout);
   if (ret == 0)
      tell_layout(bo, &layout);
   return ret;
}

/* The request is the same again, with the modifier that it led to. */
static int
create_from_metadata(struct bo *bo)
{
   const uint64_t modifier = bo->meta.format_modifier;
   const bool is_told = modifier != DRM_FORMAT_MOD_INVALID;
   const struct virgbm_request request = {
      bo->meta.width, bo->meta.height, bo->meta.format, bo->meta.use_flags, is_told ? &modifier : NULL, is_told,
   };
   struct virgbm_layout layout;
   struct virgbm_buffer *buffer;
   int ret = virgbm_create(bo->drv->priv, &request, &layout, &bo->handle.u32, &buffer);
   if (ret)
      return ret;
   tell_layout(bo, &layout);
   bo->priv = buffer;
   return 0;
}

/* minigbm takes the layout from `data` itself when this has succeeded. Its use_flags are those of the buffer, by which its own
 * drivers too decide whether a host may have drawn. */
static int
import(struct bo *bo, struct drv_import_fd_data *data)
{
   struct virgbm_import import = {
      data->width, data->height, data->format, data->format_modifier, data->use_flags, bo->meta.num_planes, {0}, {0}, {0},
   };
   struct virgbm_buffer *buffer;
   bool cached;
   memcpy(import.fds, data->fds, sizeof import.fds);
   memcpy(import.strides, data->strides, sizeof import.strides);
   memcpy(import.offsets, data->offsets, sizeof import.offsets);
   int ret = virgbm_import(bo->drv->priv, &import, &cached, &bo->handle.u32, &buffer);
   if (ret)
      return ret;
#ifdef VIRGBM_HAS_CACHED
   bo->meta.cached = cached;
#endif
   bo->meta.tiling = data->tiling;
   bo->priv = buffer;
   return 0;
}

/* Each struct bo has a reference of its own to the kernel's buffer, and so has each vma, which minigbm may keep for another bo of
 * the same handle. The last of them closes the handle. */
static int
release(struct bo *bo)
{
   virgbm_release(bo->priv);
   bo->priv = NULL;
   return 0;
}

static int
destroy(struct bo *bo)
{
   (void)bo;
   return 0;
}

static void *
map(struct bo *bo, struct vma *vma, uint32_t map_flags)
{
   struct virgbm_view *view = NULL;
   void *address = virgbm_map(bo->priv, map_flags, &vma->length, &view);
   vma->priv = view;
   return address;
}

static int
unmap(struct bo *bo, struct vma *vma)
{
   (void)bo;
   return virgbm_unmap(vma->priv);
}

static int
invalidate(struct bo *bo, struct mapping *mapping)
{
   const struct rectangle *rect = &mapping->rect;
   return virgbm_begin(mapping->vma->priv, bo->priv, rect->x, rect->y, rect->width, rect->height);
}

/* What only the GPU uses is in order with what it is told next; everybody else must find it there. */
static int
flush(struct bo *bo, struct mapping *mapping)
{
   const struct rectangle *rect = &mapping->rect;
   const bool wait = bo->meta.use_flags & BO_USE_NON_GPU_HW;
   return virgbm_end(mapping->vma->priv, bo->priv, rect->x, rect->y, rect->width, rect->height, wait);
}

static void
resolve_format_and_use_flags(struct driver *drv, uint32_t format, uint64_t use_flags, uint32_t *out_format,
                             uint64_t *out_use_flags)
{
   *out_format = format;
   *out_use_flags = use_flags;
   virgbm_resolve(drv->priv, out_format, out_use_flags);
}

static size_t
num_planes_from_modifier(struct driver *drv, uint32_t format, uint64_t modifier)
{
   return virgbm_get_num_planes(drv->priv, format, modifier);
}

static uint32_t
get_max_texture_2d_size(struct driver *drv)
{
   return virgbm_get_largest_side(drv->priv);
}

#if defined(VIRGBM_HAS_BO_EXPORT) || defined(VIRGBM_HAS_BO_GET_PLANE_FD)
static int
export(struct bo *bo, size_t plane)
{
   if (plane >= bo->meta.num_planes)
      return -EINVAL;
   return virgbm_export(bo->priv);
}
#endif

const struct backend backend_virgbm = {
   .name = "virtio_gpu",
   .init = virgbm_init,
   .close = virgbm_fini,
   .bo_compute_metadata = compute_metadata,
   .bo_create_from_metadata = create_from_metadata,
   .bo_release = release,
   .bo_destroy = destroy,
   .bo_import = import,
#ifdef VIRGBM_HAS_BO_EXPORT
   .bo_export = export,
#endif
#ifdef VIRGBM_HAS_BO_GET_PLANE_FD
   .bo_get_plane_fd = export,
#endif
   .bo_map = map,
   .bo_unmap = unmap,
   .bo_invalidate = invalidate,
   .bo_flush = flush,
   .resolve_format_and_use_flags = resolve_format_and_use_flags,
   .num_planes_from_modifier = num_planes_from_modifier,
   .get_max_texture_2d_size = get_max_texture_2d_size,
};
