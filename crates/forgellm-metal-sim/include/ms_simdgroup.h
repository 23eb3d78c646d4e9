// metal_simdgroup and metal_quadgroup: what lanes of a simdgroup tell each other.
//
// Each operation is one exchange. Where all lanes get the same or related results, the first lane to go on computes
// them once and leaves them in the slots for the others.
#pragma once
#include "ms_integer.h"

namespace ms {
constexpr uint lanes = 32;
constexpr uint slot_bytes = 64;

// What a lane publishes: its value and room for a result.
template <typename T>
struct published {
  T value;
  T result;
  uint ready;
};

template <typename T>
struct slots {
  char *base;
  uint active;
  MS_INLINE_MEMBER published<T> &operator[](uint lane) const {
    return *reinterpret_cast<published<T> *>(base + lane * slot_bytes);
  }
  MS_INLINE_MEMBER bool has(uint lane) const { return lane < lanes && (active >> lane & 1); }
};

template <typename T>
struct exchanged {
  static_assert(sizeof(published<T>) <= slot_bytes, "this type is too large to pass between the lanes of a simdgroup");
};

// Types that simd functions take: bool counts as int, as by integer promotion; 64-bit integers do not exist there.
template <typename T>
struct lane_type {
  typedef T type;
};
template <>
struct lane_type<bool> {
  typedef int type;
};
template <typename T>
struct lane_check {
  static_assert(metal::is_arithmetic_v<T>, "simdgroup functions take scalars and vectors");
  static_assert(sizeof(T) <= 4, "simdgroup functions take no 64-bit integers");
  static_assert(!metal::is_same_v<T, bfloat>, "simdgroup functions take no bfloat: convert it to float");
  static constexpr bool ok = true;
};
template <typename T, int N>
struct lane_check<metal::vec<T, N>> : lane_check<T> {};

// A macro, so that the place of the exchange is the caller's text.
#define MS_PUBLISH(T, x)                                                        \
  static_assert(ms::lane_check<T>::ok);                                         \
  ms::published<T> ms_own;                                                      \
  ms_own.value = x;                                                             \
  ms_own.ready = 0;                                                             \
  ms::slots<T> slots;                                                           \
  slots.base = ms::exchange(&ms_own, sizeof(ms_own), &slots.active);            \
  (void)sizeof(ms::exchanged<T>)

// What a lane gets that reads from a lane which is not active: undefined in the language, all bits set here, so that
// a program which uses it shows.
template <typename T>
MS_INLINE T undefined_value() {
  T r;
  __builtin_memset(&r, 0xff, sizeof(T));
  return r;
}
template <typename T>
MS_INLINE T read(const slots<T> &slots, uint lane) {
  return slots.has(lane) ? slots[lane].value : undefined_value<T>();
}

struct sum {
  template <typename T>
  MS_INLINE_MEMBER T operator()(T a, T b) const { return T(a + b); }
  template <typename T>
  MS_INLINE_MEMBER T neutral(T) const { return T(0); }
};
struct product {
  template <typename T>
  MS_INLINE_MEMBER T operator()(T a, T b) const { return T(a * b); }
  template <typename T>
  MS_INLINE_MEMBER T neutral(T) const { return T(1); }
};
#define MS_IDEMPOTENT(name, expression)                              \
  struct name {                                                      \
    template <typename T>                                            \
    MS_INLINE_MEMBER T operator()(T a, T b) const { return T(expression); }           \
    template <typename T>                                            \
    MS_INLINE_MEMBER T neutral(T any) const { return any; }                           \
  };
MS_IDEMPOTENT(minimum, metal::min(a, b))
MS_IDEMPOTENT(maximum, metal::max(a, b))
MS_IDEMPOTENT(bits_and, a & b)
MS_IDEMPOTENT(bits_or, a | b)
#undef MS_IDEMPOTENT
struct bits_xor {
  template <typename T>
  MS_INLINE_MEMBER T operator()(T a, T b) const { return T(a ^ b); }
  template <typename T>
  MS_INLINE_MEMBER T neutral(T) const { return T(0); }
};

// A tree over 32 lanes (lane i with lane i + 16, then + 8, ...): the order of a butterfly of shuffles.
template <typename T, typename Op>
MS_SHARED T combine(const slots<T> &slots, Op op, uint mask, uint first_lane, uint count) {
  T values[lanes];
  T neutral = op.neutral(slots[uint(__builtin_ctz(mask))].value);
  for (uint i = 0; i < count; ++i)
    values[i] = mask >> (first_lane + i) & 1 ? slots[first_lane + i].value : neutral;
  for (uint half_way = count / 2; half_way > 0; half_way /= 2)
    for (uint i = 0; i < half_way; ++i) values[i] = op(values[i], values[i + half_way]);
  return values[0];
}

MS_INLINE uint group_mask(uint active, uint first_lane, uint count) {
  return count == 32 ? active : active & (((1u << count) - 1) << first_lane);
}

template <typename T, typename Op>
MS_UNTRACED T reduce(const slots<T> &slots, Op op, uint first_lane, uint count) {
  uint mask = group_mask(slots.active, first_lane, count);
  published<T> &leader = slots[uint(__builtin_ctz(mask))];
  if (!leader.ready) {
    leader.result = combine(slots, op, mask, first_lane, count);
    leader.ready = 1;
  }
  return leader.result;
}

template <typename T, typename Op>
MS_SHARED T prefix(const slots<T> &slots, Op op, uint own, bool inclusive, uint first_lane, uint count) {
  uint mask = group_mask(slots.active, first_lane, count);
  published<T> &leader = slots[uint(__builtin_ctz(mask))];
  if (!leader.ready) {
    T total = op.neutral(leader.value);
    for (uint i = first_lane; i < first_lane + count; ++i) {
      if (!(mask >> i & 1)) continue;
      T before = total;
      total = op(total, slots[i].value);
      slots[i].result = inclusive ? total : before;
    }
    leader.ready = 1;
  }
  return slots[own].result;
}

// Bits of the active lanes whose predicate holds.
MS_UNTRACED uint ballot_bits(const slots<uint> &slots) {
  published<uint> &leader = slots[uint(__builtin_ctz(slots.active))];
  if (!leader.ready) {
    uint bits = 0;
    for (uint i = 0; i < lanes; ++i)
      if (slots.has(i) && slots[i].value) bits |= 1u << i;
    leader.result = bits;
    leader.ready = 1;
  }
  return leader.result;
}
}  // namespace ms

namespace metal {
// Whether simdgroup functions take the type. Kernels in the wild ask by this name.
template <typename T>
struct __is_valid_simdgroup_type : bool_constant<is_arithmetic_v<T> && sizeof(T) <= 4 && !is_same_v<T, bool> &&
                                                !is_same_v<T, bfloat>> {};
template <typename T, int N>
struct __is_valid_simdgroup_type<vec<T, N>> : __is_valid_simdgroup_type<T> {};

enum class mem_flags : uint {
  mem_none = 0,
  mem_device = 1,
  mem_threadgroup = 2,
  mem_texture = 4,
  mem_threadgroup_imageblock = 8,
  mem_object_data = 16,
};
constexpr mem_flags operator|(mem_flags a, mem_flags b) { return mem_flags(uint(a) | uint(b)); }
constexpr mem_flags operator&(mem_flags a, mem_flags b) { return mem_flags(uint(a) & uint(b)); }

MS_INLINE void threadgroup_barrier(mem_flags flags) { ms::barrier(1, uint(flags)); }
MS_INLINE void simdgroup_barrier(mem_flags flags) { ms::barrier(0, uint(flags)); }

#define MS_REDUCE(name, op)                                                                       \
  template <typename T>                                                                           \
  MS_INLINE typename ms::lane_type<T>::type simd_##name(T x) {                                    \
    typedef typename ms::lane_type<T>::type V;                                                    \
    MS_PUBLISH(V, x);                                                                             \
    return ms::reduce(slots, ms::op(), 0, 32);                                                    \
  }                                                                                               \
  template <typename T>                                                                           \
  MS_INLINE typename ms::lane_type<T>::type quad_##name(T x) {                                    \
    typedef typename ms::lane_type<T>::type V;                                                    \
    MS_PUBLISH(V, x);                                                                             \
    return ms::reduce(slots, ms::op(), ms::current()->lane & ~3u, 4);                             \
  }
MS_REDUCE(sum, sum)
MS_REDUCE(product, product)
MS_REDUCE(min, minimum)
MS_REDUCE(max, maximum)
MS_REDUCE(and, bits_and)
MS_REDUCE(or, bits_or)
MS_REDUCE(xor, bits_xor)
#undef MS_REDUCE

#define MS_PREFIX(name, op, inclusive)                                                            \
  template <typename T>                                                                           \
  MS_INLINE typename ms::lane_type<T>::type simd_prefix_##name(T x) {                             \
    typedef typename ms::lane_type<T>::type V;                                                    \
    MS_PUBLISH(V, x);                                                                             \
    return ms::prefix(slots, ms::op(), ms::current()->lane, inclusive, 0, 32);                    \
  }                                                                                               \
  template <typename T>                                                                           \
  MS_INLINE typename ms::lane_type<T>::type quad_prefix_##name(T x) {                             \
    typedef typename ms::lane_type<T>::type V;                                                    \
    MS_PUBLISH(V, x);                                                                             \
    uint own = ms::current()->lane;                                                               \
    return ms::prefix(slots, ms::op(), own, inclusive, own & ~3u, 4);                             \
  }
MS_PREFIX(inclusive_sum, sum, true)
MS_PREFIX(exclusive_sum, sum, false)
MS_PREFIX(inclusive_product, product, true)
MS_PREFIX(exclusive_product, product, false)
#undef MS_PREFIX

// Shuffles within a group of `width` lanes. `own` is the lane, `place` its position in the group.
#define MS_SHUFFLE(name, parameters, from)                                                        \
  template <typename T>                                                                           \
  MS_INLINE typename ms::lane_type<T>::type simd_##name(T x, parameters) {                        \
    typedef typename ms::lane_type<T>::type V;                                                    \
    constexpr int width = 32;                                                                     \
    MS_PUBLISH(V, x);                                                                             \
    int place = int(ms::current()->lane), base = 0;                                               \
    int source = from;                                                                            \
    (void)width;                                                                                  \
    (void)place;                                                                                  \
    return source < 0 || source >= width ? ms::undefined_value<V>() : ms::read(slots, uint(base + source)); \
  }                                                                                               \
  template <typename T>                                                                           \
  MS_INLINE typename ms::lane_type<T>::type quad_##name(T x, parameters) {                        \
    typedef typename ms::lane_type<T>::type V;                                                    \
    constexpr int width = 4;                                                                      \
    MS_PUBLISH(V, x);                                                                             \
    int place = int(ms::current()->lane & 3), base = int(ms::current()->lane & ~3u);              \
    int source = from;                                                                            \
    (void)place;                                                                                  \
    return source < 0 || source >= width ? ms::undefined_value<V>() : ms::read(slots, uint(base + source)); \
  }
MS_SHUFFLE(broadcast, ushort lane, int(lane))
MS_SHUFFLE(shuffle, ushort lane, int(lane))
MS_SHUFFLE(shuffle_xor, ushort mask, place ^ int(mask))
// The lanes at the end that have no source keep their own value.
MS_SHUFFLE(shuffle_up, ushort delta, place - int(delta) < 0 ? place : place - int(delta))
MS_SHUFFLE(shuffle_down, ushort delta, place + int(delta) >= width ? place : place + int(delta))
MS_SHUFFLE(shuffle_rotate_up, ushort delta, (place - int(delta) % width + width) % width)
MS_SHUFFLE(shuffle_rotate_down, ushort delta, (place + int(delta) % width) % width)
#undef MS_SHUFFLE

// Shuffle and fill: lanes without a source take from `fill`, in groups of `modulo` lanes.
#define MS_FILL(prefix, width)                                                                              \
  template <typename T>                                                                                     \
  MS_INLINE T prefix##_shuffle_and_fill_up(T x, T fill, ushort delta, ushort modulo = width) {              \
    T own = prefix##_shuffle_rotate_in(x, int(delta), int(modulo), -1);                                     \
    T filled = prefix##_shuffle_rotate_in(fill, int(delta), int(modulo), -1);                               \
    return int(ms::current()->lane % modulo) < int(delta) ? filled : own;                                   \
  }                                                                                                         \
  template <typename T>                                                                                     \
  MS_INLINE T prefix##_shuffle_and_fill_down(T x, T fill, ushort delta, ushort modulo = width) {            \
    T own = prefix##_shuffle_rotate_in(x, int(delta), int(modulo), 1);                                      \
    T filled = prefix##_shuffle_rotate_in(fill, int(delta), int(modulo), 1);                                \
    return int(ms::current()->lane % modulo) + int(delta) >= int(modulo) ? filled : own;                    \
  }
template <typename T>
MS_INLINE T simd_shuffle_rotate_in(T x, int delta, int modulo, int direction) {
  MS_PUBLISH(T, x);
  int lane = int(ms::current()->lane);
  int place = lane % modulo;
  int source = ((place + direction * (delta % modulo)) % modulo + modulo) % modulo;
  return ms::read(slots, uint(lane - place + source));
}
template <typename T>
MS_INLINE T quad_shuffle_rotate_in(T x, int delta, int modulo, int direction) {
  return simd_shuffle_rotate_in(x, delta, modulo, direction);
}
MS_FILL(simd, 32)
MS_FILL(quad, 4)
#undef MS_FILL

template <typename T>
MS_INLINE typename ms::lane_type<T>::type simd_broadcast_first(T x) {
  typedef typename ms::lane_type<T>::type V;
  MS_PUBLISH(V, x);
  return slots[uint(__builtin_ctz(slots.active))].value;
}
template <typename T>
MS_INLINE typename ms::lane_type<T>::type quad_broadcast_first(T x) {
  typedef typename ms::lane_type<T>::type V;
  MS_PUBLISH(V, x);
  uint base = ms::current()->lane & ~3u;
  return slots[base + uint(__builtin_ctz(slots.active >> base))].value;
}

class simd_vote {
 public:
  typedef ulong vote_t;
  explicit constexpr simd_vote(vote_t votes = 0) : votes_(votes) {}
  explicit constexpr operator vote_t() const { return votes_; }
  constexpr bool all() const { return votes_ == 0xffffffff; }
  constexpr bool any() const { return votes_ != 0; }

 private:
  vote_t votes_;
};
class quad_vote {
 public:
  typedef ushort vote_t;
  explicit constexpr quad_vote(vote_t votes = 0) : votes_(votes) {}
  explicit constexpr operator vote_t() const { return votes_; }
  constexpr bool all() const { return votes_ == 0xf; }
  constexpr bool any() const { return votes_ != 0; }

 private:
  vote_t votes_;
};

MS_INLINE simd_vote simd_ballot(bool predicate) {
  MS_PUBLISH(uint, predicate);
  return simd_vote(ms::ballot_bits(slots));
}
MS_INLINE bool simd_all(bool predicate) {
  MS_PUBLISH(uint, predicate);
  return ms::ballot_bits(slots) == slots.active;
}
MS_INLINE bool simd_any(bool predicate) {
  MS_PUBLISH(uint, predicate);
  return ms::ballot_bits(slots) != 0;
}
MS_INLINE simd_vote simd_active_threads_mask() {
  MS_PUBLISH(uint, 1);
  return simd_vote(slots.active);
}
MS_INLINE bool simd_is_first() {
  MS_PUBLISH(uint, 1);
  return uint(__builtin_ctz(slots.active)) == ms::current()->lane;
}
MS_INLINE bool simd_is_helper_thread() { return false; }

MS_INLINE quad_vote quad_ballot(bool predicate) {
  MS_PUBLISH(uint, predicate);
  return quad_vote(ushort(ms::ballot_bits(slots) >> (ms::current()->lane & ~3u) & 0xf));
}
MS_INLINE bool quad_all(bool predicate) {
  MS_PUBLISH(uint, predicate);
  uint shift = ms::current()->lane & ~3u;
  return (ms::ballot_bits(slots) >> shift & 0xf) == (slots.active >> shift & 0xf);
}
MS_INLINE bool quad_any(bool predicate) {
  MS_PUBLISH(uint, predicate);
  return (ms::ballot_bits(slots) >> (ms::current()->lane & ~3u) & 0xf) != 0;
}
MS_INLINE quad_vote quad_active_threads_mask() {
  MS_PUBLISH(uint, 1);
  return quad_vote(ushort(slots.active >> (ms::current()->lane & ~3u) & 0xf));
}
MS_INLINE bool quad_is_first() {
  MS_PUBLISH(uint, 1);
  uint base = ms::current()->lane & ~3u;
  return base + uint(__builtin_ctz(slots.active >> base)) == ms::current()->lane;
}
MS_INLINE bool quad_is_helper_thread() { return false; }
}  // namespace metal
