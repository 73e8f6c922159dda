/* The header is Mesa's in every number that a program compiles in. Needs no library but for the names of formats. */
#include <assert.h>
#include <gbm.h>
#include <stddef.h>
#include <string.h>

static_assert(sizeof(union gbm_bo_handle) == 8, "handle");
static_assert(sizeof(struct gbm_format_name_desc) == 5, "format name");

static_assert(sizeof(struct gbm_import_fd_data) == 20, "FD");
static_assert(offsetof(struct gbm_import_fd_data, stride) == 12, "FD");
static_assert(offsetof(struct gbm_import_fd_data, format) == 16, "FD");

static_assert(sizeof(struct gbm_import_fd_modifier_data) == 72, "FD_MODIFIER");
static_assert(offsetof(struct gbm_import_fd_modifier_data, num_fds) == 12, "FD_MODIFIER");
static_assert(offsetof(struct gbm_import_fd_modifier_data, fds) == 16, "FD_MODIFIER");
static_assert(offsetof(struct gbm_import_fd_modifier_data, strides) == 32, "FD_MODIFIER");
static_assert(offsetof(struct gbm_import_fd_modifier_data, offsets) == 48, "FD_MODIFIER");
static_assert(offsetof(struct gbm_import_fd_modifier_data, modifier) == 64, "FD_MODIFIER");

static_assert(GBM_MAX_PLANES == 4, "planes");
static_assert(GBM_BO_IMPORT_WL_BUFFER == 0x5501, "import");
static_assert(GBM_BO_IMPORT_EGL_IMAGE == 0x5502, "import");
static_assert(GBM_BO_IMPORT_FD == 0x5503, "import");
static_assert(GBM_BO_IMPORT_FD_MODIFIER == 0x5504, "import");

static_assert(GBM_BO_FORMAT_XRGB8888 == 0 && GBM_BO_FORMAT_ARGB8888 == 1, "old formats");
static_assert(GBM_BO_USE_SCANOUT == 1 && GBM_BO_USE_CURSOR == 2 && GBM_BO_USE_CURSOR_64X64 == 2, "usage");
static_assert(GBM_BO_USE_RENDERING == 4 && GBM_BO_USE_WRITE == 8 && GBM_BO_USE_LINEAR == 16, "usage");
static_assert(GBM_BO_USE_PROTECTED == 32 && GBM_BO_USE_FRONT_RENDERING == 64, "usage");
static_assert(GBM_BO_TRANSFER_READ == 1 && GBM_BO_TRANSFER_WRITE == 2 && GBM_BO_TRANSFER_READ_WRITE == 3, "transfer");

static_assert(GBM_FORMAT_XRGB8888 == 0x34325258, "fourcc");
static_assert(GBM_FORMAT_NV12 == 0x3231564e, "fourcc");
static_assert(GBM_FORMAT_C8 == 0x20203843, "fourcc");
static_assert(GBM_FORMAT_YVU444 == 0x34325659, "fourcc");
static_assert(__gbm_fourcc_code('A', 'B', 'C', 'D') == 0x44434241, "fourcc");

int
main(void)
{
   struct gbm_format_name_desc desc;
   if (strcmp(gbm_format_get_name(GBM_FORMAT_XRGB8888, &desc), "XR24") != 0 || desc.name[4] != 0)
      return 1;
   if (strcmp(gbm_format_get_name(GBM_BO_FORMAT_ARGB8888, &desc), "AR24") != 0)
      return 2;
   if (strcmp(gbm_format_get_name(GBM_FORMAT_R8, &desc), "R8  ") != 0)
      return 3;
   return 0;
}
