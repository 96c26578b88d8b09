#include "backward.h"
#include "forward.h"
#include "pass.h"

NAS_PASSES(double)
