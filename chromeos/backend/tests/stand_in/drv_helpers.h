#include "drv_priv.h"
