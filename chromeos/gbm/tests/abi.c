/* The header is minigbm's in every number that a program compiles in, and where it is not Mesa's. */
#include <assert.h>
#include <gbm.h>
#include <minigbm/minigbm_helpers.h>
#include <stddef.h>
#include <string.h>

static_assert(sizeof(union gbm_bo_handle) == 8, "handle");
static_assert(sizeof(struct gbm_format_name_desc) == 5, "format name");
static_assert(sizeof(struct gbm_import_fd_data) == 20, "FD");
static_assert(sizeof(struct gbm_import_fd_modifier_data) == 72, "FD_MODIFIER");
static_assert(offsetof(struct gbm_import_fd_modifier_data, modifier) == 64, "FD_MODIFIER");
static_assert(sizeof(struct gbm_import_fd_planar_data) == 96, "FD_PLANAR");
static_assert(offsetof(struct gbm_import_fd_planar_data, width) == 16, "FD_PLANAR");
static_assert(offsetof(struct gbm_import_fd_planar_data, format_modifiers) == 64, "FD_PLANAR");

static_assert(GBM_MAX_PLANES == 4, "planes");
static_assert(GBM_BO_IMPORT_WL_BUFFER == 0x5501 && GBM_BO_IMPORT_EGL_IMAGE == 0x5502, "import");
static_assert(GBM_BO_IMPORT_FD == 0x5503 && GBM_BO_IMPORT_FD_PLANAR == 0x5504 && GBM_BO_IMPORT_FD_MODIFIER == 0x5505, "import");

static_assert(GBM_BO_FORMAT_XRGB8888 == 0 && GBM_BO_FORMAT_ARGB8888 == 1, "old formats");
static_assert(GBM_BO_USE_SCANOUT == 1 << 0 && GBM_BO_USE_CURSOR == 1 << 1 && GBM_BO_USE_CURSOR_64X64 == 1 << 1, "usage");
static_assert(GBM_BO_USE_RENDERING == 1 << 2 && GBM_BO_USE_WRITE == 1 << 3 && GBM_BO_USE_LINEAR == 1 << 4, "usage");
static_assert(GBM_BO_USE_TEXTURING == 1 << 5 && GBM_BO_USE_CAMERA_WRITE == 1 << 6 && GBM_BO_USE_CAMERA_READ == 1 << 7, "usage");
static_assert(GBM_BO_USE_PROTECTED == 1 << 8, "usage");
static_assert(GBM_BO_USE_SW_READ_OFTEN == 1 << 9 && GBM_BO_USE_SW_READ_RARELY == 1 << 10, "usage");
static_assert(GBM_BO_USE_SW_WRITE_OFTEN == 1 << 11 && GBM_BO_USE_SW_WRITE_RARELY == 1 << 12, "usage");
static_assert(GBM_BO_USE_HW_VIDEO_DECODER == 1 << 13 && GBM_BO_USE_HW_VIDEO_ENCODER == 1 << 14, "usage");
static_assert(GBM_TEST_ALLOC == 1 << 15 && GBM_BO_USE_FRONT_RENDERING == 1 << 16, "usage");
static_assert(GBM_BO_USE_GPU_DATA_BUFFER == 1 << 18 && GBM_BO_USE_SENSOR_DIRECT_DATA == 1 << 19, "usage");
static_assert(GBM_BO_TRANSFER_READ == 1 && GBM_BO_TRANSFER_WRITE == 2 && GBM_BO_TRANSFER_READ_WRITE == 3, "transfer");
static_assert(GBM_BO_MAP_CACHE_CACHED == 1 && GBM_BO_MAP_CACHE_WC == 3, "cache");

static_assert(sizeof(struct gbm_device_info) == 16, "device info");
static_assert(offsetof(struct gbm_device_info, dri_node_num) == 4, "device info");
static_assert(offsetof(struct gbm_device_info, connectors) == 8, "device info");
static_assert(GBM_DEV_TYPE_FLAG_DISCRETE == 1 && GBM_DEV_TYPE_FLAG_DISPLAY == 2 && GBM_DEV_TYPE_FLAG_3D == 4, "device info");
static_assert(GBM_DEV_TYPE_FLAG_ARMSOC == 8 && GBM_DEV_TYPE_FLAG_USB == 16 && GBM_DEV_TYPE_FLAG_BLOCKED == 32, "device info");
static_assert(GBM_DEV_TYPE_FLAG_INTERNAL_LCD == 64 && GBM_DETECT_FLAG_CONNECTED == 1, "device info");

static_assert(GBM_FORMAT_XRGB8888 == 0x34325258 && GBM_FORMAT_P010 == 0x30313050, "fourcc");

#if !defined(MINIGBM) || !defined(MINIGBM_HAS_GBM_BO_GET_MAP_INFO)
#error "programs look for these"
#endif

int
main(void)
{
   struct gbm_format_name_desc desc;
   return strcmp(gbm_format_get_name(GBM_FORMAT_P010, &desc), "P010") != 0;
}
