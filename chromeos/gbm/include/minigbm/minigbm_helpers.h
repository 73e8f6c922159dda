/* minigbm_helpers.h: what minigbm's libgbm tells of DRM devices, beside gbm.h. SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef _MINIGBM_HELPERS_H_
#define _MINIGBM_HELPERS_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gbm_device;

/* What a device is. */
#define GBM_DEV_TYPE_FLAG_DISCRETE     (1u << 0) /* A GPU with memory of its own. */
#define GBM_DEV_TYPE_FLAG_DISPLAY      (1u << 1) /* It has connectors. */
#define GBM_DEV_TYPE_FLAG_3D           (1u << 2) /* It renders. */
#define GBM_DEV_TYPE_FLAG_ARMSOC       (1u << 3)
#define GBM_DEV_TYPE_FLAG_USB          (1u << 4)
#define GBM_DEV_TYPE_FLAG_BLOCKED      (1u << 5) /* Not for buffers that are shown. */
#define GBM_DEV_TYPE_FLAG_INTERNAL_LCD (1u << 6) /* It drives a built-in panel; looked for with GBM_DETECT_FLAG_CONNECTED. */

struct gbm_device_info {
   uint32_t dev_type_flags;
   /* 0 to 63, the same for the nodes of one device. */
   int dri_node_num;
   unsigned int connectors;
   /* Looked for with GBM_DETECT_FLAG_CONNECTED. */
   unsigned int connected;
};

#define GBM_DETECT_FLAG_CONNECTED (1u << 0)

/* 0, or -errno: -EINVAL for what is no DRM device. */
int gbm_detect_device_info(unsigned int detect_flags, int fd, struct gbm_device_info *info);
int gbm_detect_device_info_path(unsigned int detect_flags, const char *dev_node, struct gbm_device_info *info);

/* A device on the first node that the library serves, render nodes first. The descriptor in *out_fd is the caller's, who closes it
 * after the device. */
struct gbm_device *minigbm_create_default_device(int *out_fd);

#ifdef __cplusplus
}
#endif

#endif
