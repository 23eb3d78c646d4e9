// What a thread knows of its place.
#include <metal_stdlib>
using namespace metal;

struct Place {
  uint grid[3], group[3], local[3], size[3], groups[3], total[3];
  uint index, lane, simdgroup, simdgroups;
};

kernel void places(device Place *places [[buffer(0)]], uint3 grid [[thread_position_in_grid]],
                   uint3 group [[threadgroup_position_in_grid]], uint3 local [[thread_position_in_threadgroup]],
                   uint3 size [[threads_per_threadgroup]], uint3 groups [[threadgroups_per_grid]],
                   uint3 total [[threads_per_grid]], uint index [[thread_index_in_threadgroup]],
                   uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]],
                   uint simdgroups [[simdgroups_per_threadgroup]]) {
  device Place &p = places[(grid.z * total.y + grid.y) * total.x + grid.x];
  for (uint axis = 0; axis < 3; ++axis) {
    p.grid[axis] = grid[axis];
    p.group[axis] = group[axis];
    p.local[axis] = local[axis];
    p.size[axis] = size[axis];
    p.groups[axis] = groups[axis];
    p.total[axis] = total[axis];
  }
  p.index = index;
  p.lane = lane;
  p.simdgroup = simdgroup;
  p.simdgroups = simdgroups;
}
