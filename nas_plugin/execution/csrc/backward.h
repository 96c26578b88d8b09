// All edges of a node, backward. Nothing but the slots' maps was kept: what ReLU, norm and
// depthwise convolution gave is computed again, and only where weights want a gradient.
#pragma once

#include "inputs.h"
#include "norm.h"

namespace nas {

template <class S> class Backward {
 public:
  explicit Backward(Message& message) : call_(message) {
    gradients_ = message.pointers<const S>(call_.T);
    gx_ = message.pointer<S>();
    gmix_ = message.pointer<S>();
    gw_ = message.pointers<S>(call_.parameters * call_.T);
    for (S* pointer : gw_) wants_weights_ |= pointer != nullptr;
    for (const auto& unit : call_.units) units_.emplace_back(call_, unit);
    const Index slots = call_.slots.size();
    sums_.resize((slots + 1) * call_.N * call_.cs), products_.resize((slots + 1) * call_.N * call_.cs);
    for (Array<S>* one : {&by_g_, &by_y_, &constant_, &scale_, &shift_, &mean_}) one->zeros(slots * call_.cs);
    for (const auto& candidate : call_.candidates) {
      identity_ |= candidate.form == kIdentity;
      pools_ |= candidate.form == kMaxPool || candidate.form == kAveragePool;
    }
    parts_ = std::min(call_.threads, call_.N);
  }

  void run() {
    if (wants_weights_) inputs_.fill(call_);
    const Index image = call_.pixels * call_.cs, slots = call_.slots.size();
    while (first_ < call_.T && gradients_[first_] == nullptr) first_++;
    if (gx_ != nullptr) {
      for (const auto& unit : units_) {
        if (!unit.first_read || writer_[unit.u.relu] != nullptr) continue;
        writer_[unit.u.relu] = &unit;
        Array<S>& to = through_[unit.u.relu];
        if (unit.overwrites() && first_ < call_.T) to.resize(call_.N * call_.padded_image);
        else to.zeros(call_.N * call_.padded_image);
      }
      const Index around = call_.N * call_.H * call_.W * call_.cs_in;
      if (identity_ && first_ < call_.T) around_.resize(around);
      else if (identity_ || pools_) around_.zeros(around);
      pooled_.resize(slots);
      for (Index s = 0; s < slots; s++)
        if (call_.slots[s].shared && first_ < call_.T) pooled_[s].resize(call_.N * image);
        else if (call_.slots[s].shared) pooled_[s].zeros(call_.N * image);
      pooled_by_y_.zeros(slots * call_.cs), pooled_constant_.zeros(slots * call_.cs);
    }
    inner_.resize(slots);
    for (Index s = 0; s < slots; s++)
      if (!call_.slots[s].last) inner_[s].resize(call_.N * image);
    for (Index t = 0; t < call_.T; t++)
      if (gradients_[t] != nullptr) edge(t);
    if (gx_ != nullptr) join();
  }

 private:
  Index candidates() const { return call_.candidates.size(); }
  double* at(Array<double>& of, Index slot, Index n) { return of.data() + (slot * call_.N + n) * call_.cs; }
  const S* gradient(Index t, Index n) const { return gradients_[t] + n * call_.pixels * call_.c_out; }

  double total(Array<double>& of, Index slot, Index c) {
    double sum = 0;
    for (Index n = 0; n < call_.N; n++) sum += at(of, slot, n)[c];
    return sum;
  }

  void edge(Index t) {
    for (std::size_t s = 0; s < call_.slots.size(); s++) {
      call_.scale_and_shift(s, t, 1.0, &scale_[s * call_.cs], &shift_[s * call_.cs]);
      for (Index c = 0; c < call_.cs; c++) mean_[s * call_.cs + c] = static_cast<S>(call_.mean(s, t)[c]);
    }
    sum_candidates(t);
    for (Index k = 0; k < candidates(); k++) {
      const auto& candidate = call_.candidates[k];
      double by_mix = 0;
      if (candidate.form == kIdentity)
        for (Index c = 0; c < call_.c_out; c++) by_mix += total(products_, identity_row(), c);
      if (candidate.slot >= 0) by_mix = coefficients(candidate.slot, t, call_.coefficient(t, candidate));
      if (gmix_ != nullptr) gmix_[t * call_.columns + candidate.column] += static_cast<S>(by_mix);
    }
    if (gx_ == nullptr && !wants_weights_) return;

    std::vector<Packed<S>> packed(units_.size());
    std::vector<Index> starts;
    Index size = 0;
    for (std::size_t i = 0; i < units_.size(); i++) {
      units_[i].pack_backward(t, packed[i], wants_weights_);
      starts.push_back(size), size += units_[i].gradient_count();
    }
    if (wants_weights_) partial_.zeros(parts_ * size);
    for (Index depth = call_.depth; depth >= 0; depth--) {
      parallel(call_.N, parts_, [&](Index part, Index begin, Index end) {
        for (std::size_t i = 0; i < units_.size(); i++) {
          if (call_.slots[units_[i].u.slot].depth != depth) continue;
          units_[i].prepare(true);
          S* gw = wants_weights_ ? partial_.data() + part * size + starts[i] : nullptr;
          for (Index n = begin; n < end; n++) unit_backward(units_[i], packed[i], t, n, gw);
        }
        if (depth == 0 && gx_ != nullptr)
          for (Index n = begin; n < end; n++) pass_around(t, n);
      });
      for (std::size_t s = 0; s < call_.slots.size(); s++)
        if (!call_.slots[s].last && call_.slots[s].depth == depth - 1) coefficients(s, t, 1.0);
    }
    if (wants_weights_)
      for (std::size_t i = 0; i < units_.size(); i++)
        units_[i].unpack(partial_.data() + starts[i], parts_, size, gw_.data(), t);
  }

  // Sums of the gradient alone lie in the row behind the slots', those of identities there too.
  Index identity_row() const { return call_.slots.size(); }

  void sum_candidates(Index t) {
    std::vector<Index> plain, rectified;
    for (const auto& candidate : call_.candidates)
      if (candidate.slot >= 0) (call_.slots[candidate.slot].rectified ? rectified : plain).push_back(candidate.slot);
    const Index cs = call_.cs, pixels = call_.pixels, c_out = call_.c_out;
    parallel(call_.N, call_.threads, [&](Index, Index begin, Index end) {
      for (Index n = begin; n < end; n++) {
        const S* g = gradient(t, n);
        std::size_t done = 0;
        do {
          const std::size_t count = std::min<std::size_t>(6, plain.size() - done);
          const S *maps[6], *means[6];
          double* products[6];
          for (std::size_t i = 0; i < count; i++) {
            const Index slot = plain[done + i];
            maps[i] = call_.map(slot, t, n), means[i] = &mean_[slot * cs], products[i] = at(products_, slot, n);
          }
#define NAS_SUM(COUNT)                                                                                  \
  case COUNT:                                                                                           \
    sum_terms<S, COUNT>(g, maps, means, pixels, c_out, cs, at(sums_, identity_row(), n), products);      \
    break;
          switch (count) { NAS_SUM(0) NAS_SUM(1) NAS_SUM(2) NAS_SUM(3) NAS_SUM(4) NAS_SUM(5) NAS_SUM(6) }
#undef NAS_SUM
          done += count;
        } while (done < plain.size());
        for (Index slot : rectified)
          rectified_gradient<S>(call_.map(slot, t, n), g, c_out, &scale_[slot * cs], &shift_[slot * cs],
                                &mean_[slot * cs], pixels, c_out, cs, nullptr, at(sums_, slot, n),
                                at(products_, slot, n));
        if (identity_)
          sum_identity(g, call_.x + n * pixels * call_.c_in, pixels, c_out, at(products_, identity_row(), n));
      }
    });
  }

  // Turns a slot's sums into the coefficients of its gradient and into those of gamma and beta;
  // returns the gradient by the candidate's coefficient.
  double coefficients(Index slot, Index t, double times) {
    const Slot& s = call_.slots[slot];
    const Index sums_row = s.last && !s.rectified ? identity_row() : slot;
    const Affine<S> out{&by_g_[slot * call_.cs], &by_y_[slot * call_.cs], &constant_[slot * call_.cs]};
    const double count = static_cast<double>(call_.N * call_.pixels);
    double by_mix = 0;
    for (Index c = 0; c < call_.c_out; c++) {
      const double sum = total(sums_, sums_row, c), product = total(products_, slot, c);
      const double mean = call_.mean(slot, t)[c], inv = call_.inv(slot, t)[c];
      double gamma = 1, beta = 0;
      if (s.gamma >= 0) {
        gamma = call_.weight(s.gamma, t)[c], beta = call_.weight(s.gamma + 1, t)[c];
        if (wants_weights_) {
          gw_[s.gamma * call_.T + t][c] = static_cast<S>(times * inv * product);
          gw_[(s.gamma + 1) * call_.T + t][c] = static_cast<S>(times * sum);
        }
      }
      by_mix += gamma * inv * product + beta * sum;
      gradient_coefficients(out, c, sum, product, mean, inv, gamma, times, call_.batch(s), count);
    }
    return by_mix;
  }

  void unit_backward(const UnitOf<S>& unit, const Packed<S>& packed, Index t, Index n, S* gw) {
    const Index slot = unit.u.slot, cs = call_.cs, pixels = call_.pixels;
    auto& scratch = Scratch::of_thread();
    const S *g = gradient(t, n), *y = call_.map(slot, t, n);
    Index step = call_.c_out;
    if (!call_.slots[slot].last) {
      g = inner_[slot].data() + n * pixels * cs, step = cs;
    } else if (call_.slots[slot].rectified) {
      S* left = scratch.get<S>(Scratch::kGradient, pixels * cs);
      Array<double> unused(2 * cs);
      rectified_gradient<S>(y, g, step, &scale_[slot * cs], &shift_[slot * cs], &mean_[slot * cs], pixels,
                            call_.c_out, cs, left, unused.data(), unused.data() + cs);
      g = left, step = cs;
    }
    const BeforeNorm<S> gy{g, step, step == cs ? cs : call_.c_out, y, &by_g_[slot * cs], &by_y_[slot * cs],
                           &constant_[slot * cs], cs};
    if (unit.first_read) {
      const S* in = gw == nullptr ? nullptr : unit.input(inputs_.of(unit.u), t, n, nullptr, nullptr);
      S* gx = gx_ == nullptr ? nullptr
                             : through_[unit.u.relu].data() + n * call_.padded_image + call_.pad * (call_.row + call_.cs_in);
      const bool writes = t == first_ && writer_[unit.u.relu] == &unit && unit.overwrites();
      return unit.backward(gy, in, packed, gw, gx, call_.row, !writes);
    }
    const Index from = unit.u.from;
    const S *scale = &scale_[from * cs], *shift = &shift_[from * cs];
    const S* in = gw == nullptr ? nullptr : unit.input(nullptr, t, n, scale, shift);
    S* inner = inner_[from].data() + n * pixels * cs;
    unit.backward(gy, in, packed, gw, inner, call_.out_width * cs, false);
    rectified_gradient<S>(call_.map(from, t, n), inner, cs, scale, shift, &mean_[from * cs], pixels, cs, cs, inner,
                          at(sums_, from, n), at(products_, from, n));
  }

  // What reaches x through pools and identities, not through a ReLU.
  void pass_around(Index t, Index n) {
    const Index cs = call_.cs, pixels = call_.pixels;
    double times = 0;
    for (const auto& candidate : call_.candidates)
      if (candidate.form == kIdentity) times += call_.coefficient(t, candidate);
    if (identity_) {
      Array<S> scale(cs);
      std::fill_n(scale.data(), cs, static_cast<S>(times));
      add_to(around_, t, n, scale.data());
    }
    for (const auto& candidate : call_.candidates) {
      if (candidate.form != kMaxPool && candidate.form != kAveragePool) continue;
      const Index slot = candidate.slot;
      add_to(pooled_[slot], t, n, &by_g_[slot * cs]);
      if (n == 0)
        for (Index c = 0; c < cs; c++) {
          pooled_by_y_[slot * cs + c] += by_y_[slot * cs + c];
          pooled_constant_[slot * cs + c] += constant_[slot * cs + c];
        }
    }
  }

  // Adds an edge's gradient, scaled per channel; the first edge's is written over what was there.
  void add_to(Array<S>& sum, Index t, Index n, const S* scale) {
    S* out = sum.data() + n * call_.pixels * call_.cs;
    if (t == first_) add_scaled<S, false>(gradient(t, n), scale, call_.pixels, call_.c_out, call_.cs, out);
    else add_scaled<S, true>(gradient(t, n), scale, call_.pixels, call_.c_out, call_.cs, out);
  }

  // Through the pools, once for all edges, and into x's own gradient.
  void join() {
    const Index cs = call_.cs, image = call_.pixels * cs, in_image = call_.H * call_.W;
    Array<S> one(cs);
    std::fill_n(one.data(), cs, S(1));
    parallel(call_.N, call_.threads, [&](Index, Index begin, Index end) {
      for (Index n = begin; n < end; n++) {
        S* around = around_.size() ? around_.data() + n * in_image * call_.cs_in : nullptr;
        for (const auto& candidate : call_.candidates) {
          if (candidate.form != kMaxPool && candidate.form != kAveragePool) continue;
          const Index slot = candidate.slot;
          S* g = pooled_[slot].data() + n * image;
          const S* y = call_.map(slot, 0, n);
          norm_gradient<S>(g, cs, y, one.data(), &pooled_by_y_[slot * cs], &pooled_constant_[slot * cs], call_.pixels,
                           cs, cs, g);
          if (candidate.form == kMaxPool) max_pool_gradient(pool_of(call_, candidate, n), y, g, around);
          else average_pool_gradient(pool_of(call_, candidate, n), g, around);
        }
        const Index start = n * call_.padded_image + call_.pad * (call_.row + call_.cs_in);
        join_gradient<S>(call_.x + n * in_image * call_.c_in, call_.relu_input ? through_[1].data() + start : nullptr,
                         call_.row, call_.plain_input ? through_[0].data() + start : nullptr, around, call_.H, call_.W,
                         call_.c_in, call_.cs_in, gx_ + n * in_image * call_.c_in);
      }
    });
  }

  Call<S> call_;
  std::vector<const S*> gradients_;  // of the outputs, (T): null where none arrived
  S *gx_, *gmix_;                    // gmix comes zeroed
  std::vector<S*> gw_;  // (parameters, T)
  bool wants_weights_ = false, identity_ = false, pools_ = false;
  Index parts_;
  std::vector<UnitOf<S>> units_;
  Inputs<S> inputs_;
  Index first_ = 0;                                // the first edge with a gradient
  const UnitOf<S>* writer_[2] = {};                // which unit is the first to reach x's gradient
  Array<double> sums_, products_;                                   // (slots + 1, N, cs)
  Array<S> by_g_, by_y_, constant_, scale_, shift_, mean_;          // (slots, cs), of one edge
  Array<S> through_[2], around_, pooled_by_y_, pooled_constant_;    // gradients of x, by their way
  std::vector<Array<S>> pooled_, inner_;                            // of pooled maps; between units
  Array<S> partial_;                                                // of the weights, one a thread
};

}  // namespace nas
