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

extern "C" {
const ms_host *ms_host_table = nullptr;
}

// `half` and `bfloat` are keywords: no variable can have these names.
#define half _Float16
#define bfloat __bf16
#define device
#define constant const
#define threadgroup
#define thread
