// What a generated project has here are its kernels; this one stands for them.
#include <metal_stdlib>

using namespace metal;

constant uint COUNT [[function_constant(0)]];

kernel void double_values(
    device float *values [[buffer(0)]],
    uint i [[thread_position_in_grid]])
{
    if (i < COUNT) {
        values[i] *= 2.0f;
    }
}
