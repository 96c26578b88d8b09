// What a call computes: the candidates of T edges that leave one node, as units of work.
//
// Python describes a call by one array of 64-bit integers, read here in order; `native_call.py`
// writes it. Maps are stored per slot: a slot is what goes into one batch norm.
#pragma once

#include <cstring>
#include <stdexcept>
#include <vector>

#include "memory.h"

namespace nas {

enum Form { kZero, kIdentity, kMaxPool, kAveragePool, kConvolution, kReduction, kSeparable };
enum Flag { kReluBefore = 1, kNormed = 2, kAffine = 4, kReluAfter = 8, kCountPadding = 16 };

class Message {
 public:
  explicit Message(const std::int64_t* at) : at_(at) {}
  Index integer() { return *at_++; }
  double real() {
    double value;
    std::memcpy(&value, at_++, sizeof value);
    return value;
  }
  template <class T> T* pointer() { return reinterpret_cast<T*>(static_cast<std::intptr_t>(*at_++)); }
  template <class T> std::vector<T*> pointers(Index count) {
    std::vector<T*> all(count);
    for (auto& one : all) one = pointer<T>();
    return all;
  }

 private:
  const std::int64_t* at_;
};

struct Candidate {
  Form form;
  Index kernel, dilation, stages, flags;
  Index column;   // of the mix
  int slot = -1;  // that of its last norm
  bool has(Flag flag) const { return flags & flag; }
};

struct Slot {
  bool shared;     // by all edges: a pooled map has no weights
  int norm;        // which norm, or -1: the map is mixed as it is
  int gamma;       // its parameter; beta follows; -1: none
  bool rectified;  // a ReLU follows the norm
  Index depth;     // how many units lie before it
  bool last;       // it is mixed, not read by another unit
};

// A convolution: depthwise and pointwise, or dense. A factorised reduction is two dense ones that
// write different channels of one slot.
struct Unit {
  bool dense;
  Index kernel, dilation, stride, shift;  // shift: of the window, in pixels
  int from, slot;                         // from: a slot, or -1 for the input of all
  bool relu;                              // on that input
  int weight;                             // parameter: depthwise (pointwise follows), or dense
  Index inputs, first, outputs;           // channels read; written are [first, first + outputs)
  Index pad() const { return dilation * (kernel - 1) / 2; }
};

struct NormMode {
  double eps, momentum;
  bool batch;  // uses the batch's statistics, not the running ones
};

struct Plan {
  Index threads, N, H, W, columns, c_in, c_out, T, stride;  // columns: of the mix
  std::vector<Candidate> candidates;
  std::vector<NormMode> norms;
  std::vector<Slot> slots;
  std::vector<Unit> units;
  Index parameters = 0, depth = 0, pad = 1;
  Index out_height, out_width, pixels;
  bool relu_input = false, plain_input = false;
  int pooled[2] = {-1, -1};  // slots of the maximum and the average

  explicit Plan(Message& message) {
    threads = message.integer();
    N = message.integer(), H = message.integer(), W = message.integer();
    columns = message.integer();
    c_in = message.integer(), c_out = message.integer();
    T = message.integer(), stride = message.integer();
    candidates.resize(message.integer());
    const Index n_norms = message.integer();
    for (auto& c : candidates) {
      c.form = static_cast<Form>(message.integer());
      c.kernel = message.integer(), c.dilation = message.integer();
      c.stages = message.integer(), c.flags = message.integer();
      c.column = message.integer();
    }
    for (Index i = 0; i < n_norms; i++) {
      const double eps = message.real(), momentum = message.real();
      norms.push_back({eps, momentum, message.integer() != 0});
    }
    out_height = (H - 1) / stride + 1, out_width = (W - 1) / stride + 1;
    pixels = out_height * out_width;
    int norm = 0;
    for (auto& c : candidates) add(c, norm);
    if (norm != n_norms) throw std::logic_error("the candidates have another number of norms");
  }

 private:
  int add_slot(const Candidate& c, int& norm, bool shared, Index at, bool last) {
    Slot slot{shared, -1, -1, last && c.has(kReluAfter), at, last};
    if (c.has(kNormed)) slot.norm = norm++;
    if (c.has(kAffine)) slot.gamma = static_cast<int>(parameters), parameters += 2;
    if (at > depth) depth = at;
    slots.push_back(slot);
    return static_cast<int>(slots.size()) - 1;
  }

  void add_unit(Unit unit) {
    if (unit.from < 0) {
      (unit.relu ? relu_input : plain_input) = true;
      if (unit.pad() > pad) pad = unit.pad();
    }
    units.push_back(unit);
  }

  void add(Candidate& c, int& norm) {
    const bool before = c.has(kReluBefore);
    const int weight = static_cast<int>(parameters);
    switch (c.form) {
      case kZero:
      case kIdentity:
        break;
      case kMaxPool:
      case kAveragePool:
        c.slot = add_slot(c, norm, true, 0, true);
        break;
      case kConvolution:
        parameters += 1;
        c.slot = add_slot(c, norm, false, 0, true);
        add_unit({true, c.kernel, 1, stride, 0, -1, c.slot, before, weight, c_in, 0, c_out});
        break;
      case kReduction:
        parameters += 2;
        c.slot = add_slot(c, norm, false, 0, true);
        add_unit({true, 1, 1, stride, 0, -1, c.slot, before, weight, c_in, 0, c_out / 2});
        add_unit({true, 1, 1, stride, 1, -1, c.slot, before, weight + 1, c_in, c_out / 2, c_out - c_out / 2});
        break;
      case kSeparable:
        for (Index stage = 0, from = -1; stage < c.stages; stage++, from = c.slot) {
          const int own = static_cast<int>(parameters);
          parameters += 2;
          c.slot = add_slot(c, norm, false, stage, stage + 1 == c.stages);
          add_unit({false, c.kernel, c.dilation, stage == 0 ? stride : 1, 0, static_cast<int>(from),
                    c.slot, before, own, stage == 0 ? c_in : c_out, 0, c_out});
        }
        break;
    }
  }
};

// The tensors of a call, and where things lie in them.
template <class S> struct Call : Plan {
  const S *x, *mix;
  S* kept;      // the slots' maps, channels padded
  double* stat;  // mean and inv: (2, slots, T, cs)
  std::vector<const S*> weights;  // (parameters, T)
  std::vector<Index> last_channel;  // per parameter: a dense kernel lies (out, k, k, in)
  Index cs_in, cs, row, padded_image;
  std::vector<Index> offset;  // of the slots in `kept`

  explicit Call(Message& message) : Plan(message) {
    x = message.pointer<const S>(), mix = message.pointer<const S>();
    kept = message.pointer<S>(), stat = message.pointer<double>();
    for (Index i = 0; i < parameters; i++) last_channel.push_back(message.integer());
    weights = message.pointers<const S>(parameters * T);
    cs_in = padded<S>(c_in), cs = padded<S>(c_out);
    row = (W + 2 * pad) * cs_in, padded_image = (H + 2 * pad) * row;
    Index at = 0;
    for (const auto& slot : slots) offset.push_back(at), at += kept_of(slot);
  }

  Index kept_of(const Slot& slot) const { return (slot.shared ? 1 : T) * N * pixels * padded<S>(c_out); }
  Index kept_count() const {
    Index count = 0;
    for (const auto& slot : slots) count += kept_of(slot);
    return count;
  }
  const S* weight(int parameter, Index t) const { return weights[parameter * T + t]; }
  double coefficient(Index t, const Candidate& candidate) const {
    return mix == nullptr ? 1.0 : static_cast<double>(mix[t * columns + candidate.column]);
  }
  // Whether a slot's gradient has the terms of the batch's own statistics.
  bool batch(const Slot& slot) const { return slot.norm >= 0 && norms[slot.norm].batch; }
  S* map(int slot, Index t, Index n) const {
    return kept + offset[slot] + ((slots[slot].shared ? 0 : t) * N + n) * pixels * cs;
  }
  double* mean(int slot, Index t) const { return stat + (slot * T + t) * cs; }
  double* inv(int slot, Index t) const { return mean(slot, t) + static_cast<Index>(slots.size()) * T * cs; }
  // gamma inv and beta - gamma inv mean: a norm as scale and shift, times `times`.
  void scale_and_shift(int slot, Index t, double times, S* scale, S* shift) const {
    const int gamma = slots[slot].gamma;
    for (Index c = 0; c < cs; c++) {
      const bool real = c < c_out;
      const double a = gamma < 0 || !real ? 1.0 : static_cast<double>(weight(gamma, t)[c]);
      const double b = gamma < 0 || !real ? 0.0 : static_cast<double>(weight(gamma + 1, t)[c]);
      scale[c] = static_cast<S>(real ? times * a * inv(slot, t)[c] : 0.0);
      shift[c] = static_cast<S>(real ? times * (b - a * inv(slot, t)[c] * mean(slot, t)[c]) : 0.0);
    }
  }
};

}  // namespace nas
