/* Every format of the header, with its planes and the size of its pixels as gbm tells them. */
#ifndef FORMATS_H
#define FORMATS_H

#include "check.h"

struct format {
   uint32_t fourcc;
   int planes;
   uint32_t bpp;
};

#define F(name, planes, bits) {GBM_FORMAT_##name, planes, (bits) / BPP_BITS}
/* Of YUV Mesa tells no size, and minigbm that of a pixel in plane 0. */
#define YUV(name, planes, bits) {GBM_FORMAT_##name, planes, BPP_BITS == 8 ? (bits) / 8 : 0}

static const struct format FORMATS[] = {
   F(C8, 1, 8), F(R8, 1, 8), F(R16, 1, 16), F(GR88, 1, 16), F(RG1616, 1, 32), F(GR1616, 1, 32),
   F(RGB332, 1, 8), F(BGR233, 1, 8),
   F(XRGB4444, 1, 16), F(XBGR4444, 1, 16), F(RGBX4444, 1, 16), F(BGRX4444, 1, 16),
   F(ARGB4444, 1, 16), F(ABGR4444, 1, 16), F(RGBA4444, 1, 16), F(BGRA4444, 1, 16),
   F(XRGB1555, 1, 16), F(XBGR1555, 1, 16), F(RGBX5551, 1, 16), F(BGRX5551, 1, 16),
   F(ARGB1555, 1, 16), F(ABGR1555, 1, 16), F(RGBA5551, 1, 16), F(BGRA5551, 1, 16),
   F(RGB565, 1, 16), F(BGR565, 1, 16), F(RGB888, 1, 24), F(BGR888, 1, 24),
   F(XRGB8888, 1, 32), F(XBGR8888, 1, 32), F(RGBX8888, 1, 32), F(BGRX8888, 1, 32),
   F(ARGB8888, 1, 32), F(ABGR8888, 1, 32), F(RGBA8888, 1, 32), F(BGRA8888, 1, 32),
   F(XRGB2101010, 1, 32), F(XBGR2101010, 1, 32), F(RGBX1010102, 1, 32), F(BGRX1010102, 1, 32),
   F(ARGB2101010, 1, 32), F(ABGR2101010, 1, 32), F(RGBA1010102, 1, 32), F(BGRA1010102, 1, 32),
   F(XBGR16161616, 1, 64), F(ABGR16161616, 1, 64), F(XBGR16161616F, 1, 64), F(ABGR16161616F, 1, 64),
   YUV(YUYV, 1, 16), YUV(YVYU, 1, 16), YUV(UYVY, 1, 16), YUV(VYUY, 1, 16), YUV(AYUV, 1, 32),
   YUV(NV12, 2, 8), YUV(NV21, 2, 8), YUV(NV16, 2, 8), YUV(NV61, 2, 8),
   YUV(YUV420, 3, 8), YUV(YVU420, 3, 8), YUV(YUV422, 3, 8), YUV(YVU422, 3, 8), YUV(YUV444, 3, 8), YUV(YVU444, 3, 8),
};

#endif
