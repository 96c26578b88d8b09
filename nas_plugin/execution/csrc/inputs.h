// What all edges share: the input, rectified and padded once, and its pooled maps.
#pragma once

#include "pool.h"
#include "threads.h"
#include "unit.h"

namespace nas {

// The input of every image with its padding, with and without ReLU, as far as units read it.
template <class S> class Inputs {
 public:
  void fill(const Call<S>& call) {
    if (call.relu_input) maps_[1].zeros(call.N * call.padded_image);
    if (call.plain_input) maps_[0].zeros(call.N * call.padded_image);
    const Index start = call.pad * (call.row + call.cs_in), image = call.H * call.W * call.c_in;
    parallel(call.N, call.threads, [&](Index, Index begin, Index end) {
      for (Index n = begin; n < end; n++) {
        const Index to = n * call.padded_image + start;
        const S* x = call.x + n * image;
        if (call.relu_input)
          pad_input<S, true>(x, call.H, call.W, call.c_in, maps_[1].data() + to, call.row, call.cs_in);
        if (call.plain_input)
          pad_input<S, false>(x, call.H, call.W, call.c_in, maps_[0].data() + to, call.row, call.cs_in);
      }
    });
  }
  const S* of(const Unit& unit) const { return maps_[unit.relu].data(); }

 private:
  Array<S> maps_[2];
};

template <class S> Pool<S> pool_of(const Call<S>& call, const Candidate& candidate, Index n) {
  return {call.x + n * call.H * call.W * call.c_in, call.H, call.W, call.c_in, call.out_height,
          call.out_width, call.cs, candidate.kernel, call.stride, candidate.has(kCountPadding)};
}

}  // namespace nas
