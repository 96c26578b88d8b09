// One unit on one image, forward and backward, with its weights laid out for the kernels.
#pragma once

#include "depthwise.h"
#include "gemm.h"
#include "mix.h"
#include "plan.h"

namespace nas {

// A unit's weights for one edge, in the order in which the kernels read them.
template <class S> struct Packed {
  Array<S> taps;     // depthwise: (k * k, inputs)
  Array<S> flipped;  // the same, reversed
  Array<S> matrix;   // forward: (k * k * inputs, outputs); backward: (.., outputs, inputs)
};

template <class S> class UnitOf {
 public:
  UnitOf(const Call<S>& call, const Unit& unit) : call(call), u(unit) {
    first_read = unit.from < 0;
    cs_in = padded<S>(u.inputs);
    row = first_read ? call.row : (call.out_width + 2 * u.pad()) * cs_in;
    grad_cs = u.dense ? call.cs : cs_in;
    grad_row = (call.out_width + 2 * u.pad()) * grad_cs;
    grad_start = u.pad() * grad_row + u.pad() * grad_cs;
    if (u.dense) places(in_places, u.shift * (row + cs_in), u.stride * row, u.stride * cs_in);
    if (!u.dense || flips()) places(grad_places, grad_start, grad_row, grad_cs);
    if (flips()) places(grad_windows, 0, grad_row, grad_cs);
    // Half a reduction need not start at a whole vector: then it adds to what the other wrote.
    begin = u.first / kLanes<S> * kLanes<S>;
    end = padded<S>(u.first + u.outputs);
  }

  const Call<S>& call;
  const Unit& u;
  bool first_read;
  Index cs_in, row, grad_cs, grad_row, grad_start, begin, end;
  // Where a pixel's window in the input begins; where a pixel of the gradient lies in its padded
  // map, and where the window around it begins there.
  std::vector<std::int32_t> in_places, grad_places, grad_windows;

  Index taps() const { return u.kernel * u.kernel; }
  // Numbers of the gradient of its weights: the taps, then the matrix.
  Index matrix_count() const { return u.outputs * (u.dense ? taps() : 1) * cs_in; }
  Index gradient_count() const { return (u.dense ? 0 : taps() * cs_in) + matrix_count(); }

  void pack_forward(Index t, Packed<S>& packed) const {
    const Index kk = taps();
    if (!u.dense) pack_taps(t, packed.taps, false);
    const S* w = call.weight(u.dense ? u.weight : u.weight + 1, t);
    const Index count = u.dense ? kk : 1;
    packed.matrix.zeros(count * cs_in * call.cs);
    const auto stride = dense_strides();
    for (Index k = 0; k < count; k++)
      for (Index i = 0; i < u.inputs; i++) {
        S* to = packed.matrix.data() + (k * cs_in + i) * call.cs + u.first;
        const S* from = w + k * stride.tap + i * stride.input;
        for (Index o = 0; o < u.outputs; o++) to[o] = from[o * stride.output];
      }
  }

  void pack_backward(Index t, Packed<S>& packed, bool weights) const {
    const Index kk = taps();
    if (!u.dense) {
      pack_taps(t, packed.flipped, u.stride == 1);
      if (weights) pack_taps(t, packed.taps, false);
    }
    const S* w = call.weight(u.dense ? u.weight : u.weight + 1, t);
    const auto stride = dense_strides();
    const Index count = u.dense ? kk : 1, outputs = flips() ? call.cs : u.outputs;
    packed.matrix.zeros(count * outputs * cs_in);
    for (Index k = 0; k < count; k++)
      for (Index o = 0; o < u.outputs; o++) {
        S* to = packed.matrix.data() + ((flips() ? kk - 1 - k : k) * outputs + o) * cs_in;
        const S* from = w + k * stride.tap + o * stride.output;
        for (Index i = 0; i < u.inputs; i++) to[i] = from[i * stride.input];
      }
  }

  // Zeroes the borders of this thread's padded maps, before the unit runs on any number of images.
  void prepare(bool backward) const {
    auto& scratch = Scratch::of_thread();
    const Index rows = call.out_height + 2 * u.pad();
    if (!first_read) clear_border(scratch.get<S>(Scratch::kPadded, rows * row), rows, row, u.pad(), cs_in);
    if (backward)
      clear_border(scratch.get<S>(Scratch::kPaddedGradient, rows * grad_row), rows, grad_row, u.pad(), grad_cs);
  }

  // Its input, padded: that of all, or the normalised map before.
  const S* input(const S* all, Index t, Index n, const S* scale, const S* shift) const {
    if (first_read) {
      const Index skip = call.pad - u.pad();
      return all + n * call.padded_image + skip * (row + cs_in);
    }
    const Index count = (call.out_height + 2 * u.pad()) * row;
    S* in = Scratch::of_thread().get<S>(Scratch::kPadded, count);
    pad_normalised(call.map(u.from, t, n), scale, shift, call.out_height, call.out_width, cs_in,
                   in + u.pad() * (row + cs_in), row);
    return in;
  }

  void forward(const S* in, const Packed<S>& packed, S* y) const {
    if (u.dense) {
      const bool single = u.kernel == 1;
      Product<S> p{in, {in_places.data(), 0}, u.kernel, row, single ? u.inputs : u.kernel * cs_in,
                   packed.matrix.data() + begin, call.cs, y + begin, {nullptr, call.cs}, call.pixels, end - begin};
      if (u.outputs == call.c_out) return product<S>(p);
      return product<S, true>(p);
    }
    const Index width = call.out_width;
    S* map = Scratch::of_thread().get<S>(Scratch::kMap, lines() * width * cs_in);
    for_lines([&](Index first, Index count) {
      convolve(in, packed.taps.data(), first, count, map);
      product<S>({map, {nullptr, cs_in}, 1, 0, u.inputs, packed.matrix.data(), call.cs,
                  y + first * width * call.cs, {nullptr, call.cs}, count * width, call.cs});
    });
  }

  // From the gradient of its map: adds to the gradient of its weights unless `gw` is null, and to
  // that of its input, at `gx` with rows of `gx_row`, unless that is null. Without `add` what is at
  // `gx` is written over, which units with a stride or a dense kernel cannot.
  void backward(const BeforeNorm<S>& map_gradient, const S* in, const Packed<S>& packed, S* gw, S* gx, Index gx_row,
                bool add) const {
    if (u.dense) return dense_backward(map_gradient, in, packed, gw, gx, gx_row);
    auto& scratch = Scratch::of_thread();
    S* grad = scratch.get<S>(Scratch::kPaddedGradient, (call.out_height + 2 * u.pad()) * grad_row);
    const Index width = call.out_width;
    S* gy = scratch.get<S>(Scratch::kRows, lines() * width * call.cs);
    S* map = scratch.get<S>(Scratch::kMap, lines() * width * cs_in);
    for_lines([&](Index first, Index count) {
      const Index pixel = first * width, pixels = count * width;
      map_gradient.write(pixel, pixels, gy);
      product<S>({gy, {nullptr, call.cs}, 1, 0, u.outputs, packed.matrix.data(), cs_in, grad,
                  {grad_places.data() + pixel, 0}, pixels, cs_in});
      if (gw == nullptr) return;
      convolve(in, packed.taps.data(), first, count, map);
      outer<S>({gy, {nullptr, call.cs}, u.outputs, map, {nullptr, cs_in}, cs_in, gw + taps() * cs_in, cs_in}, pixels);
    });
    if (gw != nullptr)
      depthwise_kernel_gradient<S>({in, row, nullptr, gw, 0, call.out_height, width, cs_in, u.kernel, u.stride,
                                    u.dilation, true}, grad + grad_start, grad_row);
    if (gx == nullptr) return;
    if (u.stride == 1)
      depthwise<S>({grad, grad_row, packed.flipped.data(), gx, gx_row, call.out_height, width, cs_in, u.kernel, 1,
                    u.dilation, add});
    else
      depthwise_transposed<S>({grad + grad_start, grad_row, packed.flipped.data(), gx, gx_row, call.H, call.W,
                               cs_in, u.kernel, u.stride, u.dilation, true});
  }

  // Whether its backward can write the input's gradient instead of adding to it.
  bool overwrites() const { return !u.dense && u.stride == 1; }

  // Writes the gradient of its weights, summed over `parts`, in torch's order.
  void unpack(const S* gw, Index parts, Index step, S* const* gradients, Index t) const {
    Array<S> sum(gradient_count());
    std::memcpy(sum.data(), gw, gradient_count() * sizeof(S));
    for (Index part = 1; part < parts; part++)
      for (Index i = 0; i < gradient_count(); i++) sum[i] += gw[part * step + i];
    const S* from = sum.data();
    int parameter = u.weight;
    if (!u.dense) {
      S* to = gradients[parameter++ * call.T + t];
      for (Index c = 0; c < u.inputs; c++)
        for (Index k = 0; k < taps(); k++) to[c * taps() + k] = from[k * cs_in + c];
      from += taps() * cs_in;
    }
    S* to = gradients[parameter * call.T + t];
    const auto stride = dense_strides();
    const Index count = u.dense ? taps() : 1;
    for (Index o = 0; o < u.outputs; o++)
      for (Index k = 0; k < count; k++, from += cs_in)
        for (Index i = 0; i < u.inputs; i++)
          to[o * stride.output + k * stride.tap + i * stride.input] = from[i];
  }

 private:
  void places(std::vector<std::int32_t>& of, Index start, Index down, Index right) const {
    of.resize(call.pixels);
    std::int32_t* to = of.data();
    for (Index y = 0; y < call.out_height; y++)
      for (Index x = 0; x < call.out_width; x++) *to++ = static_cast<std::int32_t>(start + y * down + x * right);
  }

  struct Strides {
    Index output, tap, input;
  };
  Strides dense_strides() const {
    if (!u.dense) return {u.inputs, 0, 1};
    if (call.last_channel[u.weight]) return {taps() * u.inputs, u.inputs, 1};
    return {taps() * u.inputs, 1, taps()};
  }
  // With a stride of 1 the gradient of a dense input is a convolution with the flipped kernel.
  bool flips() const { return u.dense && u.kernel > 1 && u.stride == 1; }

  void pack_taps(Index t, Array<S>& to, bool reversed) const {
    const Index kk = taps();
    const S* w = call.weight(u.weight, t);
    to.zeros(kk * cs_in);
    for (Index k = 0; k < kk; k++) {
      S* tap = to.data() + (reversed ? kk - 1 - k : k) * cs_in;
      for (Index c = 0; c < u.inputs; c++) tap[c] = w[c * kk + k];
    }
  }

  // So many rows at a time that their maps stay in the first cache between two kernels.
  Index lines() const {
    const Index bytes = call.out_width * (cs_in + call.cs) * static_cast<Index>(sizeof(S));
    return std::max<Index>(1, std::min(call.out_height, 16384 / bytes));
  }
  template <class Body> void for_lines(Body body) const {
    const Index most = lines();
    for (Index first = 0; first < call.out_height; first += most) body(first, std::min(most, call.out_height - first));
  }

  // `count` rows of the depthwise convolution, from `first` on.
  void convolve(const S* in, const S* taps, Index first, Index count, S* map) const {
    depthwise<S>({in + first * u.stride * row, row, taps, map, call.out_width * cs_in, count, call.out_width, cs_in,
                  u.kernel, u.stride, u.dilation, false});
  }

  void dense_backward(const BeforeNorm<S>& map_gradient, const S* in, const Packed<S>& packed, S* gw, S* gx,
                      Index gx_row) const {
    const Index width = call.out_width;
    auto& scratch = Scratch::of_thread();
    // Padded where the gradient of the input is a convolution of it.
    const bool padded_map = flips();
    S* gy = padded_map ? scratch.get<S>(Scratch::kPaddedGradient, (call.out_height + 2 * u.pad()) * grad_row)
                       : scratch.get<S>(Scratch::kRows, call.pixels * call.cs);
    if (padded_map)
      for (Index y = 0; y < call.out_height; y++)
        map_gradient.write(y * width, width, gy + grad_start + y * grad_row);
    else
      map_gradient.write(0, call.pixels, gy);
    if (gw != nullptr) {
      const Rows rows = padded_map ? Rows{grad_places.data(), 0} : Rows{nullptr, call.cs};
      for (Index i = 0; i < u.kernel; i++)
        outer<S>({gy + u.first, rows, u.outputs, in + i * row, {in_places.data(), 0}, u.kernel * cs_in,
                  gw + i * u.kernel * cs_in, taps() * cs_in}, call.pixels);
    }
    if (gx == nullptr) return;
    if (!padded_map) {
      gx -= u.pad() * (gx_row + cs_in);
      for (Index i = 0; i < u.kernel; i++)
        for (Index j = 0; j < u.kernel; j++)
          product<S, true>({gy + u.first, {nullptr, call.cs}, 1, 0, u.outputs,
                            packed.matrix.data() + (i * u.kernel + j) * u.outputs * cs_in, cs_in,
                            gx + i * gx_row + j * cs_in, {in_places.data(), 0}, call.pixels, cs_in});
      return;
    }
    product<S, true>({gy, {grad_windows.data(), 0}, u.kernel, grad_row, u.kernel * grad_cs, packed.matrix.data(),
                      cs_in, gx, {in_places.data(), 0}, call.pixels, cs_in});
  }
};

}  // namespace nas
