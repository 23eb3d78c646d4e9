// metal_logging. A log is for people who look at it; kernels cannot read it, so the simulator keeps none.
#pragma once

namespace metal {
enum os_log_type { OS_LOG_TYPE_DEFAULT = 0, OS_LOG_TYPE_INFO = 1, OS_LOG_TYPE_DEBUG = 2, OS_LOG_TYPE_ERROR = 16,
                   OS_LOG_TYPE_FAULT = 17 };
struct os_log {
  constexpr os_log(const char *, const char *) {}
  template <typename... A>
  void log(const char *, A...) const {}
  template <typename... A>
  void log_with_type(os_log_type, const char *, A...) const {}
  template <typename... A>
  void log_debug(const char *, A...) const {}
  template <typename... A>
  void log_info(const char *, A...) const {}
  template <typename... A>
  void log_error(const char *, A...) const {}
  template <typename... A>
  void log_fault(const char *, A...) const {}
};
constexpr os_log os_log_default("", "");
}  // namespace metal
