// Maximum and average over windows that do not count the padding unless told to.
#pragma once

#include <algorithm>

#include "vector.h"

namespace nas {

template <class S> struct Pool {
  const S* x;  // one image (height, width, channels), not padded
  Index height, width, channels;
  Index out_height, out_width, cs;  // of the pooled map, its channels padded
  Index k, stride;
  bool count_padding;

  struct Window {
    Index top, bottom, left, right, area;
  };
  Window window(Index y, Index x_) const {
    const Index pad = k / 2, top = y * stride - pad, left = x_ * stride - pad;
    Window w{std::max<Index>(0, top), std::min(height, top + k), std::max<Index>(0, left),
             std::min(width, left + k), k * k};
    if (!count_padding) w.area = (w.bottom - w.top) * (w.right - w.left);
    return w;
  }
  const S* at(Index y, Index x_) const { return x + (y * width + x_) * channels; }
};

template <class S> void max_pool(const Pool<S>& p, S* out) {
  for (Index y = 0; y < p.out_height; y++)
    for (Index x = 0; x < p.out_width; x++, out += p.cs) {
      const auto w = p.window(y, x);
      for_channels<S>(p.channels, [&](Index c, auto io) {
        Vec<S> most = io.load(p.at(w.top, w.left) + c);
        for (Index a = w.top; a < w.bottom; a++)
          for (Index b = w.left; b < w.right; b++) {
            const Vec<S> v = io.load(p.at(a, b) + c);
            most = ((v > most) | (v != v)) ? v : most;  // NaN wins, as in torch
          }
        store(out + c, most);
      });
    }
}

template <class S> void average_pool(const Pool<S>& p, S* out) {
  for (Index y = 0; y < p.out_height; y++)
    for (Index x = 0; x < p.out_width; x++, out += p.cs) {
      const auto w = p.window(y, x);
      const S share = S(1) / static_cast<S>(w.area);
      for_channels<S>(p.channels, [&](Index c, auto io) {
        Vec<S> sum = {};
        for (Index a = w.top; a < w.bottom; a++)
          for (Index b = w.left; b < w.right; b++) sum += io.load(p.at(a, b) + c);
        store(out + c, sum * share);
      });
    }
}

// Adds a pooled map's gradient (out_height, out_width, cs) to that of the image,
// (height, width, channels padded to cs).
template <class S> void max_pool_gradient(const Pool<S>& p, const S* pooled, const S* grad, S* gx) {
  for (Index y = 0; y < p.out_height; y++)
    for (Index x = 0; x < p.out_width; x++, pooled += p.cs, grad += p.cs) {
      const auto w = p.window(y, x);
      for_channels<S>(p.channels, [&](Index c, auto io) {
        const Vec<S> most = load(pooled + c), g = load(grad + c), zero = {};
        // The first of equal maxima takes it all.
        typename Vector<S>::Mask open = ~typename Vector<S>::Mask{};
        for (Index a = w.top; a < w.bottom; a++)
          for (Index b = w.left; b < w.right; b++) {
            const auto hit = (io.load(p.at(a, b) + c) == most) & open;
            open &= ~hit;
            S* to = gx + (a * p.width + b) * p.cs + c;
            store(to, load(to) + (hit ? g : zero));
          }
      });
    }
}

template <class S> void average_pool_gradient(const Pool<S>& p, const S* grad, S* gx) {
  for (Index y = 0; y < p.out_height; y++)
    for (Index x = 0; x < p.out_width; x++, grad += p.cs) {
      const auto w = p.window(y, x);
      const S share = S(1) / static_cast<S>(w.area);
      for (Index c = 0; c < p.cs; c += kLanes<S>) {
        const Vec<S> g = load(grad + c) * share;
        for (Index a = w.top; a < w.bottom; a++)
          for (Index b = w.left; b < w.right; b++) {
            S* to = gx + (a * p.width + b) * p.cs + c;
            store(to, load(to) + g);
          }
      }
    }
}

}  // namespace nas
