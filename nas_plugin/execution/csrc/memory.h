// Aligned memory: a vector that crosses a cache line costs two loads.
#pragma once

#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "vector.h"

namespace nas {

class Block {
 public:
  Block() = default;
  Block(Block&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Block& operator=(Block&&) = delete;
  ~Block() { std::free(data_); }

  // Returns at least `bytes` bytes, of unknown content; what was there before is gone.
  void* reserve(std::size_t bytes) {
    if (bytes > size_) {
      std::free(data_);
      size_ = 0;
      data_ = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
      if (data_ == nullptr) throw std::bad_alloc();
      size_ = bytes;
    }
    return data_;
  }

 private:
  static constexpr std::size_t kAlignment = 64;
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

// What a thread computes an image in. It stays with the thread: a few maps, allocated once.
class Scratch {
 public:
  enum Use { kPadded, kMap, kGradient, kPaddedGradient, kRows, kChannels, kUses };

  template <class S> S* get(Use use, Index count) {
    return static_cast<S*>(blocks_[use].reserve(count * sizeof(S)));
  }
  template <class S> S* zeros(Use use, Index count) {
    S* data = get<S>(use, count);
    std::memset(static_cast<void*>(data), 0, count * sizeof(S));
    return data;
  }
  static Scratch& of_thread() {
    static thread_local Scratch scratch;
    return scratch;
  }

 private:
  Block blocks_[kUses];
};

// An array of one call.
template <class S> class Array {
 public:
  Array() = default;
  explicit Array(Index count) { resize(count); }
  void resize(Index count) { data_ = static_cast<S*>(block_.reserve((count ? count : 1) * sizeof(S))), count_ = count; }
  void zeros(Index count) {
    resize(count);
    std::memset(static_cast<void*>(data_), 0, count * sizeof(S));
  }
  S* data() { return data_; }
  const S* data() const { return data_; }
  S& operator[](Index i) { return data_[i]; }
  const S& operator[](Index i) const { return data_[i]; }
  Index size() const { return count_; }

 private:
  Block block_;
  S* data_ = nullptr;
  Index count_ = 0;
};

}  // namespace nas
