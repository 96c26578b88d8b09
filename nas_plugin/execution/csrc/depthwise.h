// Depthwise convolution, its gradient by the input and its gradient by the kernel.
//
// A map is (rows, columns, channels), channels padded to whole vectors; the input carries its
// padding. `row` is the distance between two rows, `cs` between two pixels, both in elements.
// Kernels are (k * k, channels).
#pragma once

#include <vector>

#include "vector.h"

namespace nas {

template <class S> struct Depthwise {
  const S* in;      // forward: the input; backward: the input as well
  Index in_row;
  const S* kernel;
  S* out;
  Index out_row;
  Index rows, columns;  // of the output
  Index cs;
  Index k, stride, dilation;
  bool add;  // to what is in `out`
};

// X neighbouring pixels of one vector of channels: every input is loaded once a kernel row and
// meets all outputs that need it.
template <class S, int K, int ST, int D, int X>
NAS_INLINE void depthwise_pixels(const Depthwise<S>& p, const S* in, const S* kernel, S* out) {
  Vec<S> sum[X] = {};
#pragma GCC unroll 1
  for (int i = 0; i < K; i++, in += D * p.in_row, kernel += K * p.cs) {
    Vec<S> w[K];
#pragma GCC unroll 8
    for (int j = 0; j < K; j++) w[j] = load(kernel + j * p.cs);
#pragma GCC unroll 32
    for (int at = 0; at <= (X - 1) * ST + (K - 1) * D; at++) {
      const Vec<S> v = load(in + at * p.cs);
#pragma GCC unroll 8
      for (int j = 0; j < K; j++) {
        const int from = at - j * D;
        if (from >= 0 && from % ST == 0 && from / ST < X) sum[from / ST] += v * w[j];
      }
    }
  }
#pragma GCC unroll 8
  for (int x = 0; x < X; x++) store(out + x * p.cs, p.add ? load(out + x * p.cs) + sum[x] : sum[x]);
}

template <class S, int K, int ST, int D> void depthwise_forward(Depthwise<S> p) {
  for (Index c = 0; c < p.cs; c += kLanes<S>) {
    for (Index y = 0; y < p.rows; y++) {
      const S* in = p.in + y * ST * p.in_row + c;
      S* out = p.out + y * p.out_row + c;
      Index x = 0;
      for (; x + 8 <= p.columns; x += 8)
        depthwise_pixels<S, K, ST, D, 8>(p, in + x * ST * p.cs, p.kernel + c, out + x * p.cs);
      for (; x + 4 <= p.columns; x += 4)
        depthwise_pixels<S, K, ST, D, 4>(p, in + x * ST * p.cs, p.kernel + c, out + x * p.cs);
      for (; x < p.columns; x++)
        depthwise_pixels<S, K, ST, D, 1>(p, in + x * ST * p.cs, p.kernel + c, out + x * p.cs);
    }
  }
}

// Any kernel, stride and dilation.
template <class S> void depthwise_forward_any(const Depthwise<S>& p) {
  for (Index y = 0; y < p.rows; y++)
    for (Index x = 0; x < p.columns; x++)
      for (Index c = 0; c < p.cs; c += kLanes<S>) {
        S* out = p.out + y * p.out_row + x * p.cs + c;
        Vec<S> sum = {};
        if (p.add) sum = load(out);
        for (Index i = 0; i < p.k; i++)
          for (Index j = 0; j < p.k; j++)
            sum += load(p.in + (y * p.stride + i * p.dilation) * p.in_row +
                        (x * p.stride + j * p.dilation) * p.cs + c) *
                   load(p.kernel + (i * p.k + j) * p.cs + c);
        store(out, sum);
      }
}

#define NAS_FOR_KERNELS(CALL, ANY)                          \
  const Index which = p.k * 100 + p.stride * 10 + p.dilation; \
  switch (which) {                                          \
    case 311: CALL(3, 1, 1);                                \
    case 312: CALL(3, 1, 2);                                \
    case 321: CALL(3, 2, 1);                                \
    case 322: CALL(3, 2, 2);                                \
    case 511: CALL(5, 1, 1);                                \
    case 512: CALL(5, 1, 2);                                \
    case 521: CALL(5, 2, 1);                                \
    case 522: CALL(5, 2, 2);                                \
    case 711: CALL(7, 1, 1);                                \
    case 721: CALL(7, 2, 1);                                \
    default: ANY;                                           \
  }

// out[y, x] = sum over i, j of in[y * stride + i * dilation, x * stride + j * dilation] * kernel[i, j]
template <class S> void depthwise(const Depthwise<S>& p) {
#define NAS_CALL(K, ST, D) return depthwise_forward<S, K, ST, D>(p)
  NAS_FOR_KERNELS(NAS_CALL, return depthwise_forward_any<S>(p))
#undef NAS_CALL
}

// The transpose for strides above 1, gathered: pixels of the output whose place modulo the stride
// is the same meet the same taps, and each such phase is a small convolution with a stride of 1.
//
// `in` is the gradient (of the strided output), with at least the kernel's padding of zeros around;
// `out` are `rows` x `columns` pixels of the input's gradient, which is added to. With a stride of 1
// `depthwise` with the flipped kernel gives the same.
template <class S> struct Phase {
  struct Tap {
    const S *in, *weight;
  };
  std::vector<Tap> taps;
};

template <class S, int X>
NAS_INLINE void phase_pixels(const Phase<S>& phase, Index at, Index c, Index cs, S* out, Index step) {
  Vec<S> sum[X] = {};
  for (const auto& tap : phase.taps) {
    const Vec<S> w = load(tap.weight + c);
    const S* in = tap.in + at * cs + c;
#pragma GCC unroll 8
    for (int x = 0; x < X; x++) sum[x] += load(in + x * cs) * w;
  }
#pragma GCC unroll 8
  for (int x = 0; x < X; x++) store(out + x * step, load(out + x * step) + sum[x]);
}

template <class S> void depthwise_transposed(const Depthwise<S>& p) {
  const Index pad = p.dilation * (p.k - 1) / 2;
  Phase<S> phase;
  for (Index y = 0; y < p.rows; y++)
    for (Index first = 0; first < p.stride && first < p.columns; first++) {
      // Where the pixel lies under the windows, and which taps of theirs reach it.
      const Index row = y + pad, column = first + pad;
      phase.taps.clear();
      for (Index i = 0; i < p.k; i++)
        for (Index j = 0; j < p.k; j++) {
          const Index up = row - i * p.dilation, left = column - j * p.dilation;
          // Those from outside of the gradient are zero, above and left of the padding as well.
          if (up % p.stride != 0 || left % p.stride != 0) continue;
          phase.taps.push_back({p.in + up / p.stride * p.in_row + left / p.stride * p.cs,
                                p.kernel + (i * p.k + j) * p.cs});
        }
      const Index count = (p.columns - first + p.stride - 1) / p.stride, step = p.stride * p.cs;
      S* out = p.out + y * p.out_row + first * p.cs;
      for (Index c = 0; c < p.cs; c += kLanes<S>) {
        Index x = 0;
        for (; x + 8 <= count; x += 8) phase_pixels<S, 8>(phase, x, c, p.cs, out + x * step + c, step);
        for (; x + 4 <= count; x += 4) phase_pixels<S, 4>(phase, x, c, p.cs, out + x * step + c, step);
        for (; x < count; x++) phase_pixels<S, 1>(phase, x, c, p.cs, out + x * step + c, step);
      }
    }
}

// Adds to R rows of the kernel's gradient. The sums of R * K taps stay in registers.
template <class S, int K, int ST, int D, int R>
void depthwise_kernel_rows(Depthwise<S> p, const S* grad, Index grad_row, Index first) {
  constexpr int X = 4;
  for (Index c = 0; c < p.cs; c += kLanes<S>) {
    S* out = p.out + first * K * p.cs + c;
    Vec<S> sum[R][K];
#pragma GCC unroll 8
    for (int i = 0; i < R; i++)
#pragma GCC unroll 8
      for (int j = 0; j < K; j++) sum[i][j] = load(out + (i * K + j) * p.cs);
    for (Index y = 0; y < p.rows; y++) {
      const S* in = p.in + (y * ST + first * D) * p.in_row + c;
      const S* g = grad + y * grad_row + c;
      Index x = 0;
      for (; x + X <= p.columns; x += X, in += X * ST * p.cs, g += X * p.cs) {
        Vec<S> gradient[X];
#pragma GCC unroll 8
        for (int q = 0; q < X; q++) gradient[q] = load(g + q * p.cs);
#pragma GCC unroll 8
        for (int i = 0; i < R; i++)
#pragma GCC unroll 32
          for (int at = 0; at <= (X - 1) * ST + (K - 1) * D; at++) {
            const Vec<S> v = load(in + i * D * p.in_row + at * p.cs);
#pragma GCC unroll 8
            for (int j = 0; j < K; j++) {
              const int from = at - j * D;
              if (from >= 0 && from % ST == 0 && from / ST < X)
                sum[i][j] += v * gradient[from / ST];
            }
          }
      }
      for (; x < p.columns; x++, in += ST * p.cs, g += p.cs) {
        const Vec<S> gradient = load(g);
#pragma GCC unroll 8
        for (int i = 0; i < R; i++)
#pragma GCC unroll 8
          for (int j = 0; j < K; j++)
            sum[i][j] += load(in + i * D * p.in_row + j * D * p.cs) * gradient;
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < R; i++)
#pragma GCC unroll 8
      for (int j = 0; j < K; j++) store(out + (i * K + j) * p.cs, sum[i][j]);
  }
}

template <class S, int K, int ST, int D>
void depthwise_kernel_gradient_of(const Depthwise<S>& p, const S* grad, Index grad_row) {
  // As many rows of the kernel as leave registers for four pixels of the gradient.
  constexpr int kFit = (kRegisters - 6) / K;
  constexpr int R = kFit < 1 ? 1 : kFit > K ? K : kFit;
  Index first = 0;
  for (; first + R <= K; first += R) depthwise_kernel_rows<S, K, ST, D, R>(p, grad, grad_row, first);
  if constexpr (K % R != 0) depthwise_kernel_rows<S, K, ST, D, K % R>(p, grad, grad_row, first);
}

template <class S>
void depthwise_kernel_gradient_any(const Depthwise<S>& p, const S* grad, Index grad_row) {
  for (Index i = 0; i < p.k; i++)
    for (Index j = 0; j < p.k; j++)
      for (Index c = 0; c < p.cs; c += kLanes<S>) {
        Vec<S> sum = load(p.out + (i * p.k + j) * p.cs + c);
        for (Index y = 0; y < p.rows; y++)
          for (Index x = 0; x < p.columns; x++)
            sum += load(p.in + (y * p.stride + i * p.dilation) * p.in_row +
                        (x * p.stride + j * p.dilation) * p.cs + c) *
                   load(grad + y * grad_row + x * p.cs + c);
        store(p.out + (i * p.k + j) * p.cs + c, sum);
      }
}

// out[i, j] += sum over y, x of in[y * stride + i * dilation, x * stride + j * dilation] * grad[y, x]
template <class S>
void depthwise_kernel_gradient(const Depthwise<S>& p, const S* grad, Index grad_row) {
#define NAS_CALL(K, ST, D) return depthwise_kernel_gradient_of<S, K, ST, D>(p, grad, grad_row)
  NAS_FOR_KERNELS(NAS_CALL, return depthwise_kernel_gradient_any<S>(p, grad, grad_row))
#undef NAS_CALL
}
#undef NAS_FOR_KERNELS

}  // namespace nas
