// Vectors of the widest kind the processor has, in the compiler's own extension: one source serves
// AVX2, AVX-512, SSE and NEON.
#pragma once

#include <cstdint>
#include <cstring>

namespace nas {

using Index = std::int64_t;

#if defined(__AVX512F__)
constexpr int kBytes = 64, kRegisters = 32;
#elif defined(__AVX__)
constexpr int kBytes = 32, kRegisters = 16;
#elif defined(__aarch64__)
constexpr int kBytes = 16, kRegisters = 32;
#else
constexpr int kBytes = 16, kRegisters = 16;
#endif

#define NAS_INLINE inline __attribute__((always_inline))

template <class S> struct Vector;
template <> struct Vector<float> {
  typedef float Value __attribute__((vector_size(kBytes)));
  typedef float Loose __attribute__((vector_size(kBytes), aligned(4), may_alias));
  typedef std::int32_t Mask __attribute__((vector_size(kBytes)));
};
template <> struct Vector<double> {
  typedef double Value __attribute__((vector_size(kBytes)));
  typedef double Loose __attribute__((vector_size(kBytes), aligned(8), may_alias));
  typedef std::int64_t Mask __attribute__((vector_size(kBytes)));
};
template <class S> using Vec = typename Vector<S>::Value;
template <class S> constexpr Index kLanes = kBytes / sizeof(S);

template <class S> NAS_INLINE Vec<S> load(const S* p) {
  return *reinterpret_cast<const typename Vector<S>::Loose*>(p);
}
template <class S> NAS_INLINE void store(S* p, Vec<S> v) {
  *reinterpret_cast<typename Vector<S>::Loose*>(p) = v;
}
// NaN stays NaN, as in torch.
template <class S> NAS_INLINE Vec<S> relu(Vec<S> v) {
  Vec<S> zero = {};
  return v <= zero ? zero : v;
}

// Channels of a map inside this library are padded with zeros to whole vectors; those of torch's
// tensors are not. `Full` and `Part` read and write torch's: whole vectors, and the last channels.
template <class S> struct Full {
  NAS_INLINE Vec<S> load(const S* p) const { return nas::load(p); }
  NAS_INLINE void store(S* p, Vec<S> v) const { nas::store(p, v); }
};
template <class S> struct Part {
  int count;  // of lanes, fewer than a vector has

  NAS_INLINE Vec<S> load(const S* p) const {
    Vec<S> v = {};
    copy(reinterpret_cast<S*>(&v), p);
    return v;
  }
  NAS_INLINE void store(S* p, Vec<S> v) const { copy(p, reinterpret_cast<const S*>(&v)); }

 private:
  // Copies of a fixed size become single instructions; memcpy of `count` would be a call.
  template <int N> NAS_INLINE void step(S*& to, const S*& from) const {
    if constexpr (N < kLanes<S>)
      if (count & N) std::memcpy(to, from, N * sizeof(S)), to += N, from += N;
  }
  NAS_INLINE void copy(S* to, const S* from) const {
    step<8>(to, from), step<4>(to, from), step<2>(to, from), step<1>(to, from);
  }
};

// Calls body(c, access) for every vector of channels that starts at c.
template <class S, class Body> NAS_INLINE void for_channels(Index channels, Body body) {
  Index c = 0;
  for (; c + kLanes<S> <= channels; c += kLanes<S>) body(c, Full<S>{});
  if (c < channels) body(c, Part<S>{static_cast<int>(channels - c)});
}

template <class S> constexpr Index padded(Index channels) {
  return (channels + kLanes<S> - 1) / kLanes<S> * kLanes<S>;
}

}  // namespace nas
