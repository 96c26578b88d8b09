// What Python asks before a pass.
#include "pass.h"
#include "plan.h"

extern "C" {

// Changes whenever the message does.
int nas_version() { return 1; }

// Writes how many numbers a pass keeps, of the tensors' type and doubles, and how many parameters
// an edge has.
const char* nas_sizes(const std::int64_t* message, int is_double, std::int64_t* sizes) {
  return nas::guarded([&] {
    nas::Message reader(message);
    const nas::Plan plan(reader);
    const auto cs = is_double ? nas::padded<double>(plan.c_out) : nas::padded<float>(plan.c_out);
    sizes[0] = 0;
    for (const auto& slot : plan.slots) sizes[0] += (slot.shared ? 1 : plan.T) * plan.N * plan.pixels * cs;
    sizes[1] = 2 * static_cast<std::int64_t>(plan.slots.size()) * plan.T * cs;
    sizes[2] = plan.parameters;
  });
}
}
