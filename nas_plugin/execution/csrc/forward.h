// All edges of a node, forward: edge by edge, so that an edge's maps are still in cache when the
// next phase reads them. Between phases lie the norms, which need the whole batch.
#pragma once

#include "inputs.h"
#include "norm.h"

namespace nas {

template <class S> class Forward {
 public:
  explicit Forward(Message& message) : call_(message) {
    buffers_ = message.pointers<void>(3 * static_cast<Index>(call_.norms.size()) * call_.T);
    outs_ = message.pointers<S>(call_.T);
    for (const auto& unit : call_.units) units_.emplace_back(call_, unit);
    const Index count = static_cast<Index>(call_.slots.size()) * call_.N * call_.cs;
    means_.resize(count), squares_.resize(count);
  }

  void run() {
    inputs_.fill(call_);
    pool();
    for (Index t = 0; t < call_.T; t++) {
      for (std::size_t s = 0; s < call_.slots.size(); s++)
        if (call_.slots[s].shared) finish(s, t);
      for (Index depth = 0; depth <= call_.depth; depth++) convolve(t, depth);
      mix(t);
    }
  }

 private:
  double* image(Array<double>& of, Index slot, Index n) { return of.data() + (slot * call_.N + n) * call_.cs; }

  void measure(Index slot, Index t, Index n) {
    if (call_.batch(call_.slots[slot]))
      image_statistics(call_.map(slot, t, n), call_.pixels, call_.cs, image(means_, slot, n), image(squares_, slot, n));
  }

  // Mean and inv of a slot, once all images are measured.
  void finish(Index slot, Index t) {
    double *mean = call_.mean(slot, t), *inv = call_.inv(slot, t);
    const Index which = call_.slots[slot].norm;
    if (which < 0) {
      for (Index c = 0; c < call_.cs; c++) mean[c] = 0, inv[c] = 1;
      return;
    }
    void** buffers = buffers_.data() + 3 * (which * call_.T + t);
    const NormMode& mode = call_.norms[which];
    const Norm<S> norm{mode.eps, mode.momentum, mode.batch, static_cast<S*>(buffers[0]),
                       static_cast<S*>(buffers[1]), static_cast<std::int64_t*>(buffers[2])};
    batch_statistics(norm, image(means_, slot, 0), image(squares_, slot, 0), call_.N, call_.pixels, call_.c_out,
                     call_.cs, mean, inv);
  }

  void pool() {
    for (const auto& candidate : call_.candidates) {
      if (candidate.form != kMaxPool && candidate.form != kAveragePool) continue;
      parallel(call_.N, call_.threads, [&](Index, Index begin, Index end) {
        for (Index n = begin; n < end; n++) {
          S* to = call_.map(candidate.slot, 0, n);
          if (call_.cs != call_.c_out) std::memset(static_cast<void*>(to), 0, call_.pixels * call_.cs * sizeof(S));
          if (candidate.form == kMaxPool) max_pool(pool_of(call_, candidate, n), to);
          else average_pool(pool_of(call_, candidate, n), to);
          measure(candidate.slot, 0, n);
        }
      });
    }
  }

  // The units whose input is `depth` norms away from x, then the norms behind them.
  void convolve(Index t, Index depth) {
    std::vector<const UnitOf<S>*> units;
    for (const auto& unit : units_)
      if (call_.slots[unit.u.slot].depth == depth) units.push_back(&unit);
    if (units.empty()) return;
    std::vector<Packed<S>> packed(units.size());
    Array<S> scales(2 * static_cast<Index>(units.size()) * call_.cs);
    for (std::size_t i = 0; i < units.size(); i++) {
      units[i]->pack_forward(t, packed[i]);
      S* scale = scales.data() + 2 * i * call_.cs;
      if (!units[i]->first_read) call_.scale_and_shift(units[i]->u.from, t, 1.0, scale, scale + call_.cs);
    }
    parallel(call_.N, call_.threads, [&](Index, Index begin, Index end) {
      for (std::size_t i = 0; i < units.size(); i++) {
        const UnitOf<S>& unit = *units[i];
        const S* scale = scales.data() + 2 * i * call_.cs;
        unit.prepare(false);
        for (Index n = begin; n < end; n++) {
          S* y = call_.map(unit.u.slot, t, n);
          const bool part = unit.u.outputs != call_.c_out;
          if (part && unit.u.first == 0) std::memset(static_cast<void*>(y), 0, call_.pixels * call_.cs * sizeof(S));
          unit.forward(unit.input(inputs_.of(unit.u), t, n, scale, scale + call_.cs), packed[i], y);
          if (unit.u.first + unit.u.outputs == call_.c_out) measure(unit.u.slot, t, n);
        }
      }
    });
    for (std::size_t s = 0; s < call_.slots.size(); s++)
      if (!call_.slots[s].shared && call_.slots[s].depth == depth) finish(s, t);
  }

  void mix(Index t) {
    const Index K = call_.candidates.size(), cs = call_.cs;
    Array<S> scales(K * cs), shifts(K * cs), constant(cs);
    std::memset(static_cast<void*>(constant.data()), 0, cs * sizeof(S));
    std::vector<Index> terms, rectified;
    double identity = 0;
    bool copies = false;
    for (Index k = 0; k < K; k++) {
      const auto& candidate = call_.candidates[k];
      const double times = call_.coefficient(t, candidate);
      if (candidate.form == kIdentity) identity += times, copies = true;
      if (candidate.slot < 0) continue;
      const bool relu_after = call_.slots[candidate.slot].rectified;
      S* shift = shifts.data() + k * cs;
      call_.scale_and_shift(candidate.slot, t, relu_after ? 1.0 : times, scales.data() + k * cs, shift);
      (relu_after ? rectified : terms).push_back(k);
      if (!relu_after)
        for (Index c = 0; c < cs; c++) constant[c] += shift[c];
    }
    parallel(call_.N, call_.threads, [&](Index, Index begin, Index end) {
      for (Index n = begin; n < end; n++) {
        S* out = outs_[t] + n * call_.pixels * call_.c_out;
        const S* x = copies ? call_.x + n * call_.pixels * call_.c_in : nullptr;
        mix_all(terms, scales, constant.data(), x, static_cast<S>(identity), t, n, out);
        for (Index k : rectified)
          mix_rectified(call_.map(call_.candidates[k].slot, t, n), scales.data() + k * cs, shifts.data() + k * cs,
                        static_cast<S>(call_.coefficient(t, call_.candidates[k])), out, call_.pixels, call_.c_out, cs);
      }
    });
  }

  // In groups of at most eight terms, which registers hold.
  void mix_all(const std::vector<Index>& terms, const Array<S>& scales, const S* constant, const S* x, S identity,
               Index t, Index n, S* out) {
    std::size_t done = 0;
    do {
      Term<S> group[8];
      const std::size_t count = std::min<std::size_t>(8, terms.size() - done);
      for (std::size_t i = 0; i < count; i++) {
        const Index k = terms[done + i];
        group[i] = {call_.map(call_.candidates[k].slot, t, n), scales.data() + k * call_.cs};
      }
      const S* from = done == 0 ? x : nullptr;
#define NAS_MIX(COUNT)                                                                               \
  case COUNT:                                                                                        \
    mix_terms<S, COUNT>(group, constant, from, identity, out, call_.pixels, call_.c_out, call_.cs, done > 0); \
    break;
      switch (count) { NAS_MIX(0) NAS_MIX(1) NAS_MIX(2) NAS_MIX(3) NAS_MIX(4) NAS_MIX(5) NAS_MIX(6) NAS_MIX(7) NAS_MIX(8) }
#undef NAS_MIX
      done += count;
    } while (done < terms.size());
  }

  Call<S> call_;
  std::vector<void*> buffers_;  // (norms, T, 3): running mean, running variance, batches
  std::vector<S*> outs_;
  std::vector<UnitOf<S>> units_;
  Inputs<S> inputs_;
  Array<double> means_, squares_;  // (slots, N, cs)
};

}  // namespace nas
