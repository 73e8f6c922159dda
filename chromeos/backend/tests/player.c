#include "check.h"
#include "player.h"
#include "virgbm_minigbm.h"

#define MOST 1024

static struct { uint32_t format; uint64_t modifier, use_flags; } combinations[MOST];
static size_t combination_count;

/* How many planes of buffers have a handle, and the mappings that are open: minigbm has a table and a lock of each per device. */
static uintptr_t planes_of[1 << 16];
static struct mapping *mappings[MOST];
static pthread_mutex_t planes_lock = PTHREAD_MUTEX_INITIALIZER, mappings_lock = PTHREAD_MUTEX_INITIALIZER;

void
drv_add_combination(struct driver *drv, uint32_t format, struct format_metadata *metadata, uint64_t use_flags)
{
   (void)drv;
   CHECK(combination_count < MOST && metadata->priority == 1 && metadata->tiling == 0);
   combinations[combination_count].format = format;
   combinations[combination_count].modifier = metadata->modifier;
   combinations[combination_count++].use_flags = use_flags;
}

struct driver *
player_open(int fd)
{
   struct driver *drv = calloc(1, sizeof *drv);
   CHECK(drv);
   size_t before = combination_count;
   combination_count = 0;
   drv->fd = fd;
   drv->backend = &backend_virgbm;
   CHECK(strcmp(drv->backend->name, "virtio_gpu") == 0);
   int ret = drv->backend->init(drv);
   if (ret == 0)
      return drv;
   combination_count = before;
   free(drv);
   errno = -ret;
   return NULL;
}

void
player_close(struct driver *drv)
{
   drv->backend->close(drv);
   free(drv);
}

bool
player_supports(struct driver *drv, uint32_t format, uint64_t use_flags)
{
   (void)drv;
   for (size_t i = 0; i < combination_count; i++)
      if (combinations[i].format == format && (combinations[i].use_flags & use_flags) == use_flags)
         return true;
   return false;
}

size_t
player_combinations(void)
{
   return combination_count;
}

static struct bo *
new_bo(struct driver *drv, uint32_t width, uint32_t height, uint32_t format, uint64_t use_flags, size_t num_planes)
{
   struct bo *bo = calloc(1, sizeof *bo);
   CHECK(bo);
   bo->drv = drv;
   bo->meta.width = width;
   bo->meta.height = height;
   bo->meta.format = format;
   bo->meta.use_flags = use_flags;
   bo->meta.num_planes = num_planes;
   return bo;
}

static void
acquire(struct bo *bo)
{
   pthread_mutex_lock(&planes_lock);
   CHECK(bo->handle.u32 < COUNT(planes_of));
   planes_of[bo->handle.u32] += bo->meta.num_planes;
   pthread_mutex_unlock(&planes_lock);
}

static struct bo *
create(struct driver *drv, struct bo *bo, const uint64_t *modifiers, uint32_t count)
{
   const struct bo_metadata *meta = &bo->meta;
   int ret = drv->backend->bo_compute_metadata(bo, meta->width, meta->height, meta->format, meta->use_flags, modifiers, count);
   if (ret == 0 && !bo->is_test_buffer)
      ret = drv->backend->bo_create_from_metadata(bo);
   if (ret) {
      free(bo);
      errno = -ret;
      return NULL;
   }
   acquire(bo);
   return bo;
}

struct bo *
player_create(struct driver *drv, uint32_t width, uint32_t height, uint32_t format, uint64_t use_flags)
{
   struct bo *bo = new_bo(drv, width, height, format, use_flags & ~BO_USE_TEST_ALLOC, 1);
   bo->is_test_buffer = use_flags & BO_USE_TEST_ALLOC;
   return create(drv, bo, NULL, 0);
}

struct bo *
player_create_with_modifiers(struct driver *drv, uint32_t width, uint32_t height, uint32_t format, const uint64_t *modifiers,
                             uint32_t count)
{
   return create(drv, new_bo(drv, width, height, format, BO_USE_NONE, 1), modifiers, count);
}

struct bo *
player_import(struct driver *drv, struct drv_import_fd_data *data, size_t num_planes)
{
   struct bo *bo = new_bo(drv, data->width, data->height, data->format, data->use_flags, num_planes);
   int ret = drv->backend->bo_import(bo, data);
   if (ret) {
      free(bo);
      errno = -ret;
      return NULL;
   }
   acquire(bo);
   bo->meta.format_modifier = data->format_modifier;
   for (size_t plane = 0; plane < num_planes; plane++) {
      bo->meta.strides[plane] = data->strides[plane];
      bo->meta.offsets[plane] = data->offsets[plane];
   }
   return bo;
}

static void
forget(struct bo *bo, size_t i)
{
   struct vma *vma = mappings[i]->vma;
   if (--vma->refcount == 0) {
      CHECK(bo->drv->backend->bo_unmap(bo, vma) == 0);
      free(vma);
   }
   free(mappings[i]);
   mappings[i] = NULL;
}

void
player_destroy(struct bo *bo)
{
   if (!bo->is_test_buffer) {
      CHECK(bo->drv->backend->bo_release(bo) == 0);
      pthread_mutex_lock(&planes_lock);
      bool last = (planes_of[bo->handle.u32] -= bo->meta.num_planes) == 0;
      pthread_mutex_unlock(&planes_lock);
      if (last) {
         pthread_mutex_lock(&mappings_lock);
         for (size_t i = 0; i < MOST; i++)
            if (mappings[i] && mappings[i]->vma->handle == bo->handle.u32)
               forget(bo, i);
         pthread_mutex_unlock(&mappings_lock);
         CHECK(bo->drv->backend->bo_destroy(bo) == 0);
      }
   }
   free(bo);
}

void *
player_map(struct bo *bo, struct rectangle rect, uint32_t map_flags, struct mapping **mapping)
{
   pthread_mutex_lock(&mappings_lock);
   struct vma *vma = NULL;
   size_t slot = MOST;
   for (size_t i = MOST; i-- > 0;) {
      if (!mappings[i])
         slot = i;
      else if (mappings[i]->vma->handle == bo->handle.u32 && mappings[i]->vma->map_flags == map_flags)
         vma = mappings[i]->vma;
   }
   CHECK(slot < MOST);
   if (!vma) {
      vma = calloc(1, sizeof *vma);
      CHECK(vma);
      memcpy(vma->map_strides, bo->meta.strides, sizeof vma->map_strides);
      vma->addr = bo->drv->backend->bo_map(bo, vma, map_flags);
      if (vma->addr == MAP_FAILED) {
         free(vma);
         pthread_mutex_unlock(&mappings_lock);
         return MAP_FAILED;
      }
      vma->handle = bo->handle.u32;
      vma->map_flags = map_flags;
   }
   vma->refcount++;
   *mapping = mappings[slot] = calloc(1, sizeof **mapping);
   CHECK(*mapping);
   **mapping = (struct mapping){vma, rect, 1};
   CHECK(bo->drv->backend->bo_invalidate(bo, *mapping) == 0);
   pthread_mutex_unlock(&mappings_lock);
   return vma->addr;
}

int
player_flush(struct bo *bo, struct mapping *mapping)
{
   return bo->drv->backend->bo_flush(bo, mapping);
}

int
player_unmap(struct bo *bo, struct mapping *mapping)
{
   int ret = player_flush(bo, mapping);
   pthread_mutex_lock(&mappings_lock);
   for (size_t i = 0; i < MOST; i++)
      if (mappings[i] == mapping)
         forget(bo, i);
   pthread_mutex_unlock(&mappings_lock);
   return ret;
}

size_t
player_vmas(void)
{
   size_t count = 0;
   for (size_t i = 0; i < MOST; i++) {
      bool seen = false;
      for (size_t j = 0; mappings[i] && j < i; j++)
         seen |= mappings[j] && mappings[j]->vma == mappings[i]->vma;
      count += mappings[i] && !seen;
   }
   return count;
}
