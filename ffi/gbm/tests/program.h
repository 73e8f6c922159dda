/* What most programs here stand on: a device to test, and a count of the descriptors that are left. */
#ifndef PROGRAM_H
#define PROGRAM_H

#include "check.h"

/* What a program tests, with a device of its own. */
static void test(struct gbm_device *gbm);

static inline struct gbm_bo *
create(struct gbm_device *gbm, uint32_t width, uint32_t height, uint32_t format, uint32_t flags)
{
   struct gbm_bo *bo = gbm_bo_create(gbm, width, height, format, flags);
   CHECK(bo);
   return bo;
}

int
main(void)
{
   int before = count_fds();
   int fd = open_node();
   struct gbm_device *gbm = gbm_create_device(fd);
   CHECK(gbm);
   test(gbm);
   gbm_device_destroy(gbm);
   /* The descriptor is the caller's. */
   CHECK(fcntl(fd, F_GETFD) >= 0);
   close(fd);
   CHECK(count_fds() == before);
   return 0;
}

#endif
