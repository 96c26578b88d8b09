// Batch norm, forward and backward, from sums over single images.
//
//   y' = gamma (y - mean) inv + beta,   inv = 1 / sqrt(var + eps)
//
// Its gradient by y is again affine in (g, y), with coefficients per channel that follow from
// sum(g) and sum(g (y - mean)): no normalised map is ever stored.
#pragma once

#include <cmath>

#include "vector.h"

namespace nas {

// Mean and sum of squared deviations of one image's `pixels`, per channel.
template <class S>
void image_statistics(const S* y, Index pixels, Index cs, double* mean, double* squares) {
  constexpr int U = 4;
  for (Index c = 0; c < cs; c += kLanes<S>) {
    const S* p = y + c;
    // About the first pixel, so that a mean far from zero costs no digits.
    const Vec<S> shift = load(p);
    Vec<S> sum[U] = {}, square[U] = {};
    Index m = 0;
    for (; m + U <= pixels; m += U, p += U * cs)
#pragma GCC unroll 4
      for (int u = 0; u < U; u++) {
        const Vec<S> d = load(p + u * cs) - shift;
        sum[u] += d;
        square[u] += d * d;
      }
    for (; m < pixels; m++, p += cs) {
      const Vec<S> d = load(p) - shift;
      sum[0] += d;
      square[0] += d * d;
    }
    const Vec<S> s = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    const Vec<S> q = (square[0] + square[1]) + (square[2] + square[3]);
    for (Index l = 0; l < kLanes<S>; l++) {
      const double moved = static_cast<double>(s[l]) / static_cast<double>(pixels);
      mean[c + l] = static_cast<double>(shift[l]) + moved;
      squares[c + l] = std::fmax(0.0, static_cast<double>(q[l]) - static_cast<double>(s[l]) * moved);
    }
  }
}

// One module's settings and buffers; the buffers are null where it does not track.
template <class S> struct Norm {
  double eps, momentum;
  bool batch;  // uses the batch's statistics, not the running ones
  S *running_mean, *running_var;
  std::int64_t* batches;
};

// Combines the images' statistics (images, cs), updates the running ones, gives mean and inv.
template <class S>
void batch_statistics(const Norm<S>& norm, const double* means, const double* squares, Index images,
                      Index pixels, Index channels, Index cs, double* mean, double* inv) {
  const double count = static_cast<double>(images * pixels);
  for (Index c = 0; c < cs; c++) mean[c] = inv[c] = 0;
  for (Index c = 0; c < channels; c++) {
    if (!norm.batch) {
      mean[c] = norm.running_mean[c];
      inv[c] = 1 / std::sqrt(static_cast<double>(norm.running_var[c]) + norm.eps);
      continue;
    }
    double sum = 0, square = 0;
    for (Index n = 0; n < images; n++) sum += means[n * cs + c];
    const double m = sum / static_cast<double>(images);
    for (Index n = 0; n < images; n++) {
      const double d = means[n * cs + c] - m;
      square += squares[n * cs + c] + d * d * static_cast<double>(pixels);
    }
    mean[c] = m;
    inv[c] = 1 / std::sqrt(square / count + norm.eps);
    if (norm.running_mean != nullptr) {
      const double unbiased = count > 1 ? square / (count - 1) : square;
      norm.running_mean[c] = static_cast<S>((1 - norm.momentum) * norm.running_mean[c] + norm.momentum * m);
      norm.running_var[c] = static_cast<S>((1 - norm.momentum) * norm.running_var[c] + norm.momentum * unbiased);
    }
  }
  if (norm.batch && norm.batches != nullptr) *norm.batches += 1;
}

// The gradient by y as by_g * g + by_y * y + constant, per channel.
template <class S> struct Affine {
  S *by_g, *by_y, *constant;
};

// `sum` is sum(g), `product` sum(g (y - mean)) of channel c, `mix` the coefficient of the candidate.
template <class S>
NAS_INLINE void gradient_coefficients(const Affine<S>& out, Index c, double sum, double product, double mean,
                                      double inv, double gamma, double mix, bool batch, double count) {
  const double scale = mix * gamma * inv;
  const double by_y = batch ? -scale * inv * inv * product / count : 0;
  out.by_g[c] = static_cast<S>(scale);
  out.by_y[c] = static_cast<S>(by_y);
  out.constant[c] = static_cast<S>(batch ? -scale * sum / count - by_y * mean : 0);
}

}  // namespace nas
