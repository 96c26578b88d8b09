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
    for (Index y = 0; y < call.out_height; y++)
      for (Index x = 0; x < call.out_width; x++) {
        in_places.push_back(static_cast<std::int32_t>((y * u.stride + u.shift) * row + (x * u.stride + u.shift) * cs_in));
        grad_places.push_back(static_cast<std::int32_t>(grad_start + y * grad_row + x * grad_cs));
      }
    // Half a reduction need not start at a whole vector: then it adds to what the other wrote.
    begin = u.first / kLanes<S> * kLanes<S>;
    end = padded<S>(u.first + u.outputs);
  }

  const Call<S>& call;
  const Unit& u;
  bool first_read;
  Index cs_in, row, grad_cs, grad_row, grad_start, begin, end;
  std::vector<std::int32_t> in_places, grad_places;

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
    if (!first_read) clear_border(scratch.get<S>(Scratch::kPadded, rows * row), cs_in, row);
    if (backward) clear_border(scratch.get<S>(Scratch::kPaddedGradient, rows * grad_row), grad_cs, grad_row);
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
    S* map = Scratch::of_thread().get<S>(Scratch::kMap, call.pixels * cs_in);
    convolve(in, packed.taps.data(), map);
    product<S>({map, {nullptr, cs_in}, 1, 0, u.inputs, packed.matrix.data(), call.cs, y, {nullptr, call.cs},
                call.pixels, call.cs});
  }

  // From the gradient `gy` (pixels, cs) of its map: adds to the gradient of its weights unless
  // `gw` is null, and to that of its input, at `gx` with rows of `gx_row`, unless that is null.
  void backward(const S* gy, const S* in, const Packed<S>& packed, S* gw, S* gx, Index gx_row, bool add) const {
    if (u.dense) return dense_backward(gy, in, packed, gw, gx, gx_row);
    auto& scratch = Scratch::of_thread();
    S* grad = scratch.get<S>(Scratch::kPaddedGradient, (call.out_height + 2 * u.pad()) * grad_row);
    product<S>({gy, {nullptr, call.cs}, 1, 0, u.outputs, packed.matrix.data(), cs_in, grad,
                {grad_places.data(), 0}, call.pixels, cs_in});
    if (gw != nullptr) {
      S* map = scratch.get<S>(Scratch::kMap, call.pixels * cs_in);
      convolve(in, packed.taps.data(), map);
      outer<S>({gy, {nullptr, call.cs}, u.outputs, map, {nullptr, cs_in}, cs_in, gw + taps() * cs_in, cs_in},
               call.pixels);
      depthwise_kernel_gradient<S>({in, row, nullptr, gw, 0, call.out_height, call.out_width, cs_in, u.kernel,
                                    u.stride, u.dilation, true}, grad + grad_start, grad_row);
    }
    if (gx == nullptr) return;
    if (u.stride == 1)
      depthwise<S>({grad, grad_row, packed.flipped.data(), gx, gx_row, call.out_height, call.out_width, cs_in,
                    u.kernel, 1, u.dilation, add});
    else
      depthwise_transposed<S>({grad + grad_start, grad_row, packed.flipped.data(), gx, gx_row, call.H, call.W,
                               cs_in, u.kernel, u.stride, u.dilation, true});
  }

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

  void convolve(const S* in, const S* taps, S* map) const {
    depthwise<S>({in, row, taps, map, call.out_width * cs_in, call.out_height, call.out_width, cs_in, u.kernel,
                  u.stride, u.dilation, false});
  }

  // Zeroes the border of a padded map of the output's size.
  void clear_border(S* map, Index channels, Index map_row) const {
    const Index q = u.pad(), rows = call.out_height + 2 * q;
    const auto zero = [](S* at, Index count) { std::memset(static_cast<void*>(at), 0, count * sizeof(S)); };
    zero(map, q * map_row);
    zero(map + (rows - q) * map_row, q * map_row);
    for (Index y = q; y < rows - q; y++) {
      zero(map + y * map_row, q * channels);
      zero(map + (y + 1) * map_row - q * channels, q * channels);
    }
  }

  void dense_backward(const S* gy, const S* in, const Packed<S>& packed, S* gw, S* gx, Index gx_row) const {
    const S* own = gy + u.first;
    if (gw != nullptr)
      for (Index i = 0; i < u.kernel; i++)
        outer<S>({own, {nullptr, call.cs}, u.outputs, in + i * row, {in_places.data(), 0}, u.kernel * cs_in,
                  gw + i * u.kernel * cs_in, taps() * cs_in}, call.pixels);
    if (gx == nullptr) return;
    if (!flips()) {
      gx -= u.pad() * (gx_row + cs_in);
      for (Index i = 0; i < u.kernel; i++)
        for (Index j = 0; j < u.kernel; j++)
          product<S, true>({own, {nullptr, call.cs}, 1, 0, u.outputs,
                            packed.matrix.data() + (i * u.kernel + j) * u.outputs * cs_in, cs_in,
                            gx + i * gx_row + j * cs_in, {in_places.data(), 0}, call.pixels, cs_in});
      return;
    }
    S* grad = Scratch::of_thread().get<S>(Scratch::kPaddedGradient, (call.out_height + 2 * u.pad()) * grad_row);
    for (Index y = 0; y < call.out_height; y++)
      std::memcpy(grad + grad_start + y * grad_row, gy + y * call.out_width * call.cs,
                  call.out_width * call.cs * sizeof(S));
    // Pixels of the gradient and of the padded input are equally many, in rows of other lengths.
    for (Index y = 0; y < call.out_height; y++)
      product<S, true>({grad + y * grad_row, {nullptr, grad_cs}, u.kernel, grad_row, u.kernel * grad_cs,
                        packed.matrix.data(), cs_in, gx + y * gx_row, {nullptr, cs_in}, call.out_width, cs_in});
  }
};

}  // namespace nas
