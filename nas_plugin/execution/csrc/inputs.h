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
    const Index image = call.H * call.W * call.c_in;
    for (int relu = 0; relu < 2; relu++) {
      if (!(relu ? call.relu_input : call.plain_input)) continue;
      maps_[relu].resize(call.N * call.padded_image);
      parallel(call.N, call.threads, [&](Index, Index begin, Index end) {
        for (Index n = begin; n < end; n++) {
          const S* x = call.x + n * image;
          S* map = maps_[relu].data() + n * call.padded_image;
          S* middle = map + call.pad * (call.row + call.cs_in);
          clear_border(map, call.H + 2 * call.pad, call.row, call.pad, call.cs_in);
          if (relu) pad_input<S, true>(x, call.H, call.W, call.c_in, middle, call.row, call.cs_in);
          else pad_input<S, false>(x, call.H, call.W, call.c_in, middle, call.row, call.cs_in);
        }
      });
    }
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
