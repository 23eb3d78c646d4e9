// What a generated project has here are its kernels. These stand for them: they take every kind of argument that there is.
#include <metal_stdlib>

using namespace metal;

constant uint THREADS [[function_constant(0)]];
constant bool LAST [[function_constant(1)]];

kernel void scale_and_turn(
    device float *values [[buffer(0)]],
    device const float *weights [[buffer(1)]],
    constant float &offset [[buffer(2)]],
    threadgroup float *turned [[threadgroup(0)]],
    uint i [[thread_position_in_grid]],
    uint in_group [[thread_position_in_threadgroup]])
{
    turned[THREADS - 1 - in_group] = values[i] * weights[i];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    values[i] = turned[in_group] + (LAST ? offset : 0.0f);
}
