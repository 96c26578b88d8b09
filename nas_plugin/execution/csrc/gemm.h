// Matrix products over the pixels of a map: pointwise and dense convolutions and their gradients.
//
// A dense k x k convolution is a product too: the k * channels numbers under one row of the kernel
// lie side by side in the padded input, so a pixel's row consists of k such segments.
#pragma once

#include "vector.h"

namespace nas {

// Where the row of pixel m begins: at[m], or m * step.
struct Rows {
  const std::int32_t* at;
  Index step;
  NAS_INLINE Index operator[](Index m) const { return at ? at[m] : m * step; }
};

template <class S> struct Product {
  const S* a;
  Rows a_rows;
  Index segments, segment_step;  // of a row of `a`
  Index depth;                   // of a segment
  const S* b;                    // (segments * depth, columns), whole vectors
  Index b_step;
  S* c;
  Rows c_rows;
  Index pixels, columns;  // columns: a multiple of a vector's lanes
};

// Rows of a tile: two vectors a row and their sums fill the registers.
constexpr int kTile = kRegisters == 32 ? 8 : 6;
constexpr int kTileVectors = kRegisters == 32 ? 3 : 2;

template <class S, int M, int N, bool ADD>
NAS_INLINE void product_tile(const Product<S>& p, Index pixel, const S* b, Index column) {
  const S* a[M];
  S* c[M];
  Vec<S> sum[M][N];
#pragma GCC unroll 8
  for (int m = 0; m < M; m++) {
    a[m] = p.a + p.a_rows[pixel + m];
    c[m] = p.c + p.c_rows[pixel + m] + column;
#pragma GCC unroll 4
    for (int n = 0; n < N; n++) sum[m][n] = ADD ? load(c[m] + n * kLanes<S>) : Vec<S>{};
  }
  for (Index segment = 0; segment < p.segments; segment++) {
    const Index end = segment * p.segment_step + p.depth;
    for (Index k = segment * p.segment_step; k < end; k++, b += p.b_step) {
      Vec<S> row[N];
#pragma GCC unroll 4
      for (int n = 0; n < N; n++) row[n] = load(b + n * kLanes<S>);
#pragma GCC unroll 8
      for (int m = 0; m < M; m++)
#pragma GCC unroll 4
        for (int n = 0; n < N; n++) sum[m][n] += row[n] * a[m][k];
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; m++)
#pragma GCC unroll 4
    for (int n = 0; n < N; n++) store(c[m] + n * kLanes<S>, sum[m][n]);
}

// The description comes by value: a store may change anything but a copy of its own.
template <class S, int N, bool ADD> void product_columns(Product<S> p, Index column) {
  const S* b = p.b + column;
  Index m = 0;
  for (; m + kTile <= p.pixels; m += kTile) product_tile<S, kTile, N, ADD>(p, m, b, column);
  if (!ADD && m < p.pixels && p.pixels >= kTile)  // some pixels twice, with the same result
    return product_tile<S, kTile, N, ADD>(p, p.pixels - kTile, b, column);
  for (; m + 4 <= p.pixels; m += 4) product_tile<S, 4, N, ADD>(p, m, b, column);
  for (; m < p.pixels; m++) product_tile<S, 1, N, ADD>(p, m, b, column);
}

// c[m] (+)= a[m] b
template <class S, bool ADD = false> void product(const Product<S>& p) {
  constexpr Index lanes = kLanes<S>;
  Index n = 0;
  if constexpr (kTileVectors == 3)
    for (; n + 3 * lanes <= p.columns && p.columns - n != 4 * lanes; n += 3 * lanes)
      product_columns<S, 3, ADD>(p, n);
  for (; n + 2 * lanes <= p.columns; n += 2 * lanes) product_columns<S, 2, ADD>(p, n);
  for (; n < p.columns; n += lanes) product_columns<S, 1, ADD>(p, n);
}

// The gradient of a weight: g (outputs, inputs) += sum over m of a[m]^T b[m].
template <class S> struct Outer {
  const S* a;
  Rows a_rows;
  Index outputs;
  const S* b;
  Rows b_rows;
  Index inputs;  // a multiple of a vector's lanes
  S* g;
  Index g_step;
};

template <class S, int M, int N>
NAS_INLINE void outer_tile(const Outer<S>& p, Index first, Index last, Index output, Index input) {
  S* g = p.g + output * p.g_step + input;
  Vec<S> sum[M][N];
#pragma GCC unroll 8
  for (int m = 0; m < M; m++)
#pragma GCC unroll 4
    for (int n = 0; n < N; n++) sum[m][n] = load(g + m * p.g_step + n * kLanes<S>);
  for (Index pixel = first; pixel < last; pixel++) {
    const S* a = p.a + p.a_rows[pixel] + output;
    const S* b = p.b + p.b_rows[pixel] + input;
    Vec<S> row[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; n++) row[n] = load(b + n * kLanes<S>);
#pragma GCC unroll 8
    for (int m = 0; m < M; m++)
#pragma GCC unroll 4
      for (int n = 0; n < N; n++) sum[m][n] += row[n] * a[m];
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; m++)
#pragma GCC unroll 4
    for (int n = 0; n < N; n++) store(g + m * p.g_step + n * kLanes<S>, sum[m][n]);
}

template <class S, int N>
void outer_columns(const Outer<S>& p, Index first, Index last, Index input) {
  Index m = 0;
  for (; m + kTile <= p.outputs; m += kTile) outer_tile<S, kTile, N>(p, first, last, m, input);
  for (; m + 4 <= p.outputs; m += 4) outer_tile<S, 4, N>(p, first, last, m, input);
  for (; m < p.outputs; m++) outer_tile<S, 1, N>(p, first, last, m, input);
}

template <class S> void outer(const Outer<S>& p, Index pixels) {
  // So many pixels at a time that both maps stay in the first cache.
  const Index bytes = (p.outputs + p.inputs) * static_cast<Index>(sizeof(S));
  const Index block = bytes * 32 > 16384 ? 32 : 16384 / bytes;
  for (Index first = 0; first < pixels; first += block) {
    const Index last = first + block < pixels ? first + block : pixels;
    Index n = 0;
    for (; n + 2 * kLanes<S> <= p.inputs; n += 2 * kLanes<S>) outer_columns<S, 2>(p, first, last, n);
    for (; n < p.inputs; n += kLanes<S>) outer_columns<S, 1>(p, first, last, n);
  }
}

}  // namespace nas
