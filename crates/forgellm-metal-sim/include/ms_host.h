// What a compiled kernel and the simulator know of each other. Mirror: src/sim/abi.rs.
#pragma once

typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long uint64_t;
typedef unsigned long uintptr_t;

extern "C" {
// One GPU thread. The simulator owns and fills it before the thread starts.
struct ms_thread {
  uint32_t position_in_grid[3], threadgroup_position[3], position_in_threadgroup[3];
  uint32_t threads_per_threadgroup[3], threadgroups_per_grid[3], threads_per_grid[3];
  uint32_t index_in_threadgroup, lane, simdgroup, simdgroups_per_threadgroup;
  uint32_t matrix_operations;  // counted here; lanes must agree wherever they meet
  uint32_t reserved;
  void *const *buffers;              // [31] device and constant buffers by index
  void *const *threadgroup_buffers;  // [31] threadgroup memory that is an argument
};

struct ms_host {
  const ms_thread *(*thread)(void);
  // scope: 0 simdgroup, 1 threadgroup.
  void (*barrier)(uint32_t scope, uint32_t mem_flags, const void *pc);
  // Publishes `size` (<= 64) bytes and waits for the other live lanes at the same place. The 32 slots of 64 bytes
  // stay valid until this lane's next exchange; lanes may write into them.
  const void *(*exchange)(const void *value, uint32_t size, uint32_t *active, const void *pc);
  void *(*threadgroup_memory)(uint32_t site, uint64_t bytes, uint64_t align, const char *name);
  void (*load)(const void *, uint64_t bytes, const void *pc);   // traced build only
  void (*store)(void *, uint64_t bytes, const void *pc);        // traced build only
  void (*atomic)(void *, uint64_t bytes, uint32_t kind, const void *pc);  // 0 load, 1 store, 2 read-modify-write
  void (*matrix)(uint32_t kind, const void *pc);                // 0 load, 1 store, 2 multiply-accumulate
  void (*fail)(const char *message, const void *pc);            // does not return
};

// Set by the simulator after it loaded the object.
__attribute__((visibility("protected"))) extern const ms_host *ms_host_table;
}

#define MS_EXPORT __attribute__((visibility("default"), used))
#define MS_INLINE static inline __attribute__((always_inline))
// A function whose return address names a place in the user's text. It is neither copied into other control flow nor
// merged with another call (which would let lanes at different places look alike), and in a traced build its own
// memory accesses are not reported.
#define MS_PLACE \
  static __attribute__((noinline, unused, convergent, nomerge, no_sanitize("address", "kernel-address")))
#define MS_RETURN_ADDRESS __builtin_extract_return_addr(__builtin_return_address(0))

// Shared code of the library: one copy per type, however often kernels use it; its accesses (to exchange slots, to
// matrices of lane 0) are never reported.
#define MS_SHARED static __attribute__((noinline, unused, no_sanitize("address", "kernel-address")))
// Small code whose own accesses a traced build must not report.
#if MS_TRACED
#define MS_UNTRACED MS_SHARED
#else
#define MS_UNTRACED static inline __attribute__((always_inline, unused))
#endif

namespace ms {
// Nobody defines this. The compiler forgets that a function is convergent if all that it calls is not, so every place
// calls this where it never comes.
extern "C" __attribute__((weak, convergent)) void ms_never();
#define MS_STAY_CONVERGENT \
  if (__builtin_expect(ms_host_table == nullptr, 0)) ms_never()

// The thread that runs: the same for the whole life of a coroutine, hence `const`.
static __attribute__((noinline, unused, const, no_sanitize("address", "kernel-address"))) ms_thread *current() {
  return const_cast<ms_thread *>(ms_host_table->thread());
}

MS_PLACE void barrier(uint32_t scope, uint32_t flags) {
  MS_STAY_CONVERGENT;
  ms_host_table->barrier(scope, flags, MS_RETURN_ADDRESS);
}

MS_PLACE char *exchange(const void *value, uint32_t size, uint32_t *active) {
  MS_STAY_CONVERGENT;
  return static_cast<char *>(
      const_cast<void *>(ms_host_table->exchange(value, size, active, MS_RETURN_ADDRESS)));
}
}  // namespace ms
