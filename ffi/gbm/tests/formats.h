/* Every format of the header, with its planes and its bits of a pixel as gbm tells them. */
#ifndef FORMATS_H
#define FORMATS_H

#include <gbm.h>

struct format {
   uint32_t fourcc;
   int planes;
   uint32_t bpp;
};

#define F(name, planes, bpp) {GBM_FORMAT_##name, planes, bpp}

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
   F(YUYV, 1, 0), F(YVYU, 1, 0), F(UYVY, 1, 0), F(VYUY, 1, 0), F(AYUV, 1, 0),
   F(NV12, 2, 0), F(NV21, 2, 0), F(NV16, 2, 0), F(NV61, 2, 0),
   F(YUV420, 3, 0), F(YVU420, 3, 0), F(YUV422, 3, 0), F(YVU422, 3, 0), F(YUV444, 3, 0), F(YVU444, 3, 0),
};

#endif
