// Everything a translated kernel includes. The qualifiers of the language come last: they are macros, and the headers
// above must not see them.
#pragma once
#include "ms_atomic.h"
#include "ms_entry.h"
#include "ms_functional.h"
#include "ms_matrix.h"
#include "ms_simdgroup_matrix.h"
#if MS_TRACED
#include "ms_trace.h"
#endif

extern "C" {
const ms_host *ms_host_table = nullptr;
}

#define device
#define constant const
#define threadgroup
#define thread
