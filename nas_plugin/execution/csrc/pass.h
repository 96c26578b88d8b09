// How a pass becomes a function of C: it takes one array of integers, described in plan.h, and
// returns an error's text or null. Nothing here depends on torch, so any torch can load the library.
#pragma once

#include <cstdint>
#include <exception>
#include <string>

namespace nas {

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

}  // namespace nas

// Each scalar is compiled by itself, side by side.
#define NAS_PASSES(SCALAR)                                                      \
  extern "C" const char* nas_forward_##SCALAR(const std::int64_t* message) {    \
    return nas::guarded([&] {                                                   \
      nas::Message reader(message);                                             \
      nas::Forward<SCALAR>(reader).run();                                       \
    });                                                                         \
  }                                                                             \
  extern "C" const char* nas_backward_##SCALAR(const std::int64_t* message) {   \
    return nas::guarded([&] {                                                   \
      nas::Message reader(message);                                             \
      nas::Backward<SCALAR>(reader).run();                                      \
    });                                                                         \
  }
