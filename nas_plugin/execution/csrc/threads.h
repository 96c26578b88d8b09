// Torch's own threads: the OpenMP runtime that torch has loaded is the one this library finds.
#pragma once

#include <exception>

#include "vector.h"

namespace nas {

// Splits [0, count) into one stretch a thread: body(part, begin, end). How it is split depends on
// nothing but `count` and `threads`, so that a run can be repeated to the bit.
template <class Body> void parallel(Index count, Index threads, Body body) {
  const Index parts = threads < count ? threads : count;
  if (parts <= 1) {
    if (count > 0) body(Index(0), Index(0), count);
    return;
  }
#if defined(_OPENMP)
  std::exception_ptr failed;
#pragma omp parallel for num_threads(static_cast<int>(parts)) schedule(static, 1)
  for (Index part = 0; part < parts; part++) {
    try {
      body(part, part * count / parts, (part + 1) * count / parts);
    } catch (...) {
#pragma omp critical
      failed = std::current_exception();
    }
  }
  if (failed) std::rethrow_exception(failed);
#else
  for (Index part = 0; part < parts; part++) body(part, part * count / parts, (part + 1) * count / parts);
#endif
}

}  // namespace nas
