// Everything a translated kernel includes. The language's own words come last: they are macros, and the headers
// above must not see them.
#pragma once
#include "ms_atomic.h"
#include "ms_entry.h"
#include "ms_functional.h"
#include "ms_internal.h"
#include "ms_logging.h"
#include "ms_matrix.h"
#include "ms_simdgroup_matrix.h"
#if MS_TRACED
#include "ms_trace.h"
#endif
#if MS_SPACES
#include "ms_spaces.h"
#endif

extern "C" {
const ms_host *ms_host_table = nullptr;
}

// `half` and `bfloat` are keywords: no variable can have these names.
#define half _Float16
#define bfloat __bf16
#define thread
#if MS_SPACES
#define device __attribute__((address_space(1)))
#define constant __attribute__((address_space(2))) const
#define threadgroup __attribute__((address_space(3)))
#else
#define device
#define constant const
#define threadgroup
#endif
