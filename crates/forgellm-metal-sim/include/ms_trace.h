// Traced build: clang's address instrumentation calls these before each access; they tell the simulator.
// Every address is reported; the simulator knows which belong to buffers and threadgroup memory.
#pragma once
#include "ms_host.h"

// Set in the size of an access whose address need not be a multiple of it.
#define MS_UNALIGNED (uint64_t(1) << 63)

#define MS_HOOK extern "C" __attribute__((used, noinline, visibility("hidden"), no_sanitize("address", "kernel-address")))

#define MS_TRACE_SIZE(N)                                                                                 \
  MS_HOOK void __asan_load##N##_noabort(uintptr_t address) {                                             \
    ms_host_table->load(reinterpret_cast<const void *>(address), N, MS_RETURN_ADDRESS);                  \
  }                                                                                                      \
  MS_HOOK void __asan_store##N##_noabort(uintptr_t address) {                                            \
    ms_host_table->store(reinterpret_cast<void *>(address), N, MS_RETURN_ADDRESS);                       \
  }
MS_TRACE_SIZE(1)
MS_TRACE_SIZE(2)
MS_TRACE_SIZE(4)
MS_TRACE_SIZE(8)
MS_TRACE_SIZE(16)
#undef MS_TRACE_SIZE

MS_HOOK void __asan_loadN_noabort(uintptr_t address, uint64_t bytes) {
  ms_host_table->load(reinterpret_cast<const void *>(address), bytes | MS_UNALIGNED, MS_RETURN_ADDRESS);
}
MS_HOOK void __asan_storeN_noabort(uintptr_t address, uint64_t bytes) {
  ms_host_table->store(reinterpret_cast<void *>(address), bytes | MS_UNALIGNED, MS_RETURN_ADDRESS);
}
MS_HOOK void *__asan_memcpy(void *to, const void *from, uint64_t bytes) {
  ms_host_table->load(from, bytes | MS_UNALIGNED, MS_RETURN_ADDRESS);
  ms_host_table->store(to, bytes | MS_UNALIGNED, MS_RETURN_ADDRESS);
  return __builtin_memmove(to, from, bytes);
}
MS_HOOK void *__asan_memmove(void *to, const void *from, uint64_t bytes) {
  ms_host_table->load(from, bytes | MS_UNALIGNED, MS_RETURN_ADDRESS);
  ms_host_table->store(to, bytes | MS_UNALIGNED, MS_RETURN_ADDRESS);
  return __builtin_memmove(to, from, bytes);
}
MS_HOOK void *__asan_memset(void *to, int value, uint64_t bytes) {
  ms_host_table->store(to, bytes | MS_UNALIGNED, MS_RETURN_ADDRESS);
  return __builtin_memset(to, value, bytes);
}
MS_HOOK void __asan_handle_no_return() {}
MS_HOOK void __asan_init() {}
MS_HOOK void __asan_version_mismatch_check_v8() {}
#undef MS_HOOK
#undef MS_UNALIGNED
