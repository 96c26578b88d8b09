// What is done pixel by pixel: padding, mixing the candidates, and the sums and maps of backward.
#pragma once

#include <algorithm>
#include <cstring>

#include "vector.h"

namespace nas {

// Zeroes what lies around the middle of a map of `rows` rows, padded by `pad` pixels on each side.
template <class S> void clear_border(S* map, Index rows, Index row, Index pad, Index cs) {
  const auto zero = [](S* at, Index count) { std::memset(static_cast<void*>(at), 0, count * sizeof(S)); };
  zero(map, pad * row);
  zero(map + (rows - pad) * row, pad * row);
  for (Index y = pad; y < rows - pad; y++) {
    zero(map + y * row, pad * cs);
    zero(map + (y + 1) * row - pad * cs, pad * cs);
  }
}

// Copies a map (height, width, channels) into the middle of a padded one; the border stays.
template <class S, bool RELU>
void pad_input(const S* x, Index height, Index width, Index channels, S* out, Index row, Index cs) {
  for (Index y = 0; y < height; y++, out += row) {
    S* to = out;
    for (Index i = 0; i < width; i++, x += channels, to += cs)
      for_channels<S>(channels, [&](Index c, auto io) {
        const Vec<S> v = io.load(x + c);
        store(to + c, RELU ? relu<S>(v) : v);
      });
  }
}

// relu(scale * y + shift) of a map (height, width, cs) into the middle of a padded one.
template <class S>
void pad_normalised(const S* y, const S* scale, const S* shift, Index height, Index width, Index cs,
                    S* out, Index row) {
  for (Index h = 0; h < height; h++, out += row, y += width * cs)
    for (Index c = 0; c < cs; c += kLanes<S>) {
      const Vec<S> a = load(scale + c), b = load(shift + c);
      for (Index w = 0; w < width; w++)
        store(out + w * cs + c, relu<S>(load(y + w * cs + c) * a + b));
    }
}

// A term of the mix: a stored map and its scale per channel.
template <class S> struct Term {
  const S* y;
  const S* scale;
};

// out = constant + sum of scale * y + times * x; y are (pixels, cs), x and out (pixels, channels).
template <class S, int N>
void mix_terms(const Term<S>* terms, const S* constant, const S* x, S times, S* out, Index pixels,
               Index channels, Index cs, bool add) {
  for_channels<S>(channels, [&](Index c, auto io) {
    Vec<S> scale[N + 1];
    const S* y[N + 1];
#pragma GCC unroll 8
    for (int s = 0; s < N; s++) scale[s] = load(terms[s].scale + c), y[s] = terms[s].y + c;
    const Vec<S> start = load(constant + c);
    for (Index m = 0; m < pixels; m++) {
      S* to = out + m * channels + c;
      Vec<S> sum = add ? io.load(to) : start;
      if (x != nullptr) sum += io.load(x + m * channels + c) * times;
#pragma GCC unroll 8
      for (int s = 0; s < N; s++) sum += scale[s] * load(y[s] + m * cs);
      io.store(to, sum);
    }
  });
}

// out += times * relu(scale * y + shift)
template <class S>
void mix_rectified(const S* y, const S* scale, const S* shift, S times, S* out, Index pixels,
                   Index channels, Index cs) {
  for_channels<S>(channels, [&](Index c, auto io) {
    const Vec<S> a = load(scale + c), b = load(shift + c);
    for (Index m = 0; m < pixels; m++) {
      S* to = out + m * channels + c;
      io.store(to, io.load(to) + relu<S>(load(y + m * cs + c) * a + b) * times);
    }
  });
}

// Per channel: sum(g), and sum(g (y - mean)) of each of N maps.
template <class S, int N>
void sum_terms(const S* g, const S* const* maps, const S* const* means, Index pixels,
               Index channels, Index cs, double* sum, double* const* products) {
  for_channels<S>(channels, [&](Index c, auto io) {
    Vec<S> even[N + 1] = {}, odd[N + 1] = {}, mean[N + 1];
    const S* y[N + 1];
#pragma GCC unroll 8
    for (int s = 0; s < N; s++) mean[s] = load(means[s] + c), y[s] = maps[s] + c;
    Index m = 0;
    for (; m + 2 <= pixels; m += 2) {
      const Vec<S> a = io.load(g + m * channels + c), b = io.load(g + (m + 1) * channels + c);
      even[N] += a;
      odd[N] += b;
#pragma GCC unroll 8
      for (int s = 0; s < N; s++) {
        even[s] += a * (load(y[s] + m * cs) - mean[s]);
        odd[s] += b * (load(y[s] + (m + 1) * cs) - mean[s]);
      }
    }
    if (m < pixels) {
      const Vec<S> a = io.load(g + m * channels + c);
      even[N] += a;
#pragma GCC unroll 8
      for (int s = 0; s < N; s++) even[s] += a * (load(y[s] + m * cs) - mean[s]);
    }
#pragma GCC unroll 8
    for (int s = 0; s <= N; s++) {
      double* to = (s == N ? sum : products[s]) + c;
      const Vec<S> v = even[s] + odd[s];
      for (Index l = 0; l < kLanes<S>; l++) to[l] = static_cast<double>(v[l]);
    }
  });
}

// Per channel: sum(g x) of an identity.
template <class S>
void sum_identity(const S* g, const S* x, Index pixels, Index channels, double* sum) {
  for_channels<S>(channels, [&](Index c, auto io) {
    Vec<S> even = {}, odd = {};
    Index m = 0;
    for (; m + 2 <= pixels; m += 2) {
      even += io.load(g + m * channels + c) * io.load(x + m * channels + c);
      odd += io.load(g + (m + 1) * channels + c) * io.load(x + (m + 1) * channels + c);
    }
    if (m < pixels) even += io.load(g + m * channels + c) * io.load(x + m * channels + c);
    const Vec<S> v = even + odd;
    for (Index l = 0; l < kLanes<S>; l++) sum[c + l] = static_cast<double>(v[l]);
  });
}

// Stops a gradient where scale * y + shift is not positive, into `out` (pixels, cs) unless that is
// null, with sum(g) and sum(g (y - mean)) of what is left. g is (pixels, step).
template <class S>
void rectified_gradient(const S* y, const S* g, Index step, const S* scale, const S* shift,
                        const S* mean, Index pixels, Index channels, Index cs, S* out, double* sum,
                        double* product) {
  for_channels<S>(channels, [&](Index c, auto io) {
    const Vec<S> a = load(scale + c), b = load(shift + c), u = load(mean + c), zero = {};
    Vec<S> s = {}, q = {}, odd_s = {}, odd_q = {};
    const auto pixel = [&](Index m, Vec<S>& sum_, Vec<S>& product_) {
      const Vec<S> v = load(y + m * cs + c);
      Vec<S> left = io.load(g + m * step + c);
      left = v * a + b > zero ? left : zero;
      if (out != nullptr) store(out + m * cs + c, left);
      sum_ += left;
      product_ += left * (v - u);
    };
    Index m = 0;
    for (; m + 2 <= pixels; m += 2) pixel(m, s, q), pixel(m + 1, odd_s, odd_q);
    if (m < pixels) pixel(m, s, q);
    s += odd_s, q += odd_q;
    for (Index l = 0; l < kLanes<S>; l++) {
      sum[c + l] = static_cast<double>(s[l]);
      product[c + l] = static_cast<double>(q[l]);
    }
  });
}

// out = by_g * g + by_y * y + constant: the gradient before a batch norm. g is (pixels, step).
template <class S>
void norm_gradient(const S* g, Index step, const S* y, const S* by_g, const S* by_y,
                   const S* constant, Index pixels, Index channels, Index cs, S* out) {
  for_channels<S>(channels, [&](Index c, auto io) {
    const Vec<S> a = load(by_g + c), b = load(by_y + c), d = load(constant + c);
    for (Index m = 0; m < pixels; m++)
      store(out + m * cs + c, a * io.load(g + m * step + c) + (b * load(y + m * cs + c) + d));
  });
}

// What a unit's backward starts from, computed where it is read, a few pixels at a time.
template <class S> struct BeforeNorm {
  const S* g;  // (pixels, step), with `channels` of them
  Index step, channels;
  const S *y, *by_g, *by_y, *constant;
  Index cs;
  void write(Index first, Index pixels, S* out) const {
    norm_gradient<S>(g + first * step, step, y + first * cs, by_g, by_y, constant, pixels, channels, cs, out);
  }
};

// out (pixels, cs) = by_g * g, or that added to what is there
template <class S, bool ADD>
void add_scaled(const S* g, const S* by_g, Index pixels, Index channels, Index cs, S* out) {
  for_channels<S>(channels, [&](Index c, auto io) {
    const Vec<S> a = load(by_g + c);
    for (Index m = 0; m < pixels; m++) {
      const Vec<S> scaled = a * io.load(g + m * channels + c);
      store(out + m * cs + c, ADD ? load(out + m * cs + c) + scaled : scaled);
    }
  });
}

// The gradient of x: what came through a ReLU where x is positive, plus what came around it.
// `through` is a padded map, `around` (height, width, cs); either may be null.
template <class S>
void join_gradient(const S* x, const S* through, Index row, const S* plain, const S* around,
                   Index height, Index width, Index channels, Index cs, S* out) {
  for (Index h = 0; h < height; h++)
    for (Index w = 0; w < width; w++) {
      const Index pixel = h * width + w;
      for_channels<S>(channels, [&](Index c, auto io) {
        Vec<S> sum = {}, zero = {};
        if (through != nullptr)
          sum = io.load(x + pixel * channels + c) > zero ? load(through + h * row + w * cs + c) : zero;
        if (plain != nullptr) sum += load(plain + h * row + w * cs + c);
        if (around != nullptr) sum += load(around + pixel * cs + c);
        io.store(out + pixel * channels + c, sum);
      });
    }
}

}  // namespace nas
