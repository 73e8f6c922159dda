/* Plays minigbm's drv.c: what it does around a driver, and in which order. */
#ifndef PLAYER_H
#define PLAYER_H

#include "drv_priv.h"

/* NULL and errno where the driver does not take the node. The descriptor stays the caller's. */
struct driver *player_open(int fd);
void player_close(struct driver *drv);

/* Whether one combination has the format with all of the usage. */
bool player_supports(struct driver *drv, uint32_t format, uint64_t use_flags);
size_t player_combinations(void);

struct bo *player_create(struct driver *drv, uint32_t width, uint32_t height, uint32_t format, uint64_t use_flags);
struct bo *player_create_with_modifiers(struct driver *drv, uint32_t width, uint32_t height, uint32_t format,
                                        const uint64_t *modifiers, uint32_t count);
struct bo *player_import(struct driver *drv, struct drv_import_fd_data *data, size_t num_planes);
void player_destroy(struct bo *bo);

/* A mapping, whose vma may be another's: its first byte, or MAP_FAILED. */
void *player_map(struct bo *bo, struct rectangle rect, uint32_t map_flags, struct mapping **mapping);
/* As gbm.c: flushed and kept, to be unmapped with the last buffer of the handle. */
int player_flush(struct bo *bo, struct mapping *mapping);
/* As gralloc may: unmapped with the last mapping of the vma. */
int player_unmap(struct bo *bo, struct mapping *mapping);

/* How many vmas there are. */
size_t player_vmas(void);

#endif
