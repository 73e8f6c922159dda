/* What dri.c, which stands in for Mesa's backend, and its tests agree on. */
#ifndef STAND_IN_H
#define STAND_IN_H

#include "backend_abi.h"

/* What the stand-in counts. */
struct mesa_counts {
   int devices, bos, surfaces, imports;
};

/* Formats that only the stand-in has: one that it makes, and one that it only claims to. */
#define FORMAT_MADE 0x314b4146
#define FORMAT_CLAIMED 0x324b4146

/* By which its buffers of 64 pixels are known. */
#define MESA_STRIDE 320

#endif
