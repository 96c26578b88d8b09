// The library's functions. They take one array of integers, described in plan.h, and return an
// error's text or null. Nothing here depends on torch, so any torch can load what was built.
#include <string>

#include "backward.h"
#include "forward.h"

namespace {

template <class Run> const char* guarded(Run run) {
  static thread_local std::string error;
  try {
    run();
    return nullptr;
  } catch (const std::exception& caught) {
    error = caught.what();
    return error.c_str();
  }
}

template <class S, template <class> class Pass> const char* pass(const std::int64_t* message) {
  return guarded([&] {
    nas::Message reader(message);
    Pass<S>(reader).run();
  });
}

}  // namespace

extern "C" {

// Changes whenever the message does.
int nas_version() { return 1; }

// Writes how many numbers a pass keeps: of the tensors' type, and doubles.
const char* nas_sizes(const std::int64_t* message, int is_double, std::int64_t* sizes) {
  return guarded([&] {
    nas::Message reader(message);
    const nas::Plan plan(reader);
    const auto cs = is_double ? nas::padded<double>(plan.c_out) : nas::padded<float>(plan.c_out);
    sizes[0] = 0;
    for (const auto& slot : plan.slots) sizes[0] += (slot.shared ? 1 : plan.T) * plan.N * plan.pixels * cs;
    sizes[1] = 2 * static_cast<std::int64_t>(plan.slots.size()) * plan.T * cs;
    sizes[2] = plan.parameters;
  });
}

const char* nas_forward_float(const std::int64_t* message) { return pass<float, nas::Forward>(message); }
const char* nas_forward_double(const std::int64_t* message) { return pass<double, nas::Forward>(message); }
const char* nas_backward_float(const std::int64_t* message) { return pass<float, nas::Backward>(message); }
const char* nas_backward_double(const std::int64_t* message) { return pass<double, nas::Backward>(message); }
}
