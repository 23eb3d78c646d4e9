// What all kernels share: the standard library, and the constants that a pipeline is specialised by.
//
// A kernel names only the constants that its pipeline sets. Numbers: 0-29 projections, 30-59 attention, 60-89 the rest.

#include <metal_stdlib>
#include <metal_simdgroup>
#include <metal_simdgroup_matrix>

using namespace metal;
