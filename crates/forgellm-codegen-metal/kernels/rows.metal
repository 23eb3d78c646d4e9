// Moves rows or columns of [rows, ROW_WIDTH] buffers. Threadgroups: (columns, rows); a thread moves up to four elements.

constant uint ROW_WIDTH [[function_constant(66)]];
constant uint SLICE_START [[function_constant(67)]];
constant uint SLICE_WIDTH [[function_constant(68)]];

// `width` elements from x to y; the thread's are those at 4 * quad. `vectors`: whether both begin on 16 bytes and the width is a multiple of 4.
inline void copy_quad(device const float *x, device float *y, uint width, uint quad, bool vectors) {
    uint first = quad * 4;
    if (vectors && first < width) {
        ((device float4 *)y)[quad] = ((device const float4 *)x)[quad];
    } else {
        for (uint i = first; i < min(first + 4, width); i++) {
            y[i] = x[i];
        }
    }
}

// y[i] = x[wanted[i]].
kernel void select_wanted(device const float *x [[buffer(0)]],
                          device const uint *wanted [[buffer(1)]],
                          device float *y [[buffer(2)]],
                          uint2 position [[thread_position_in_grid]]) {
    x += (ulong)wanted[position.y] * ROW_WIDTH;
    y += (ulong)position.y * ROW_WIDTH;
    copy_quad(x, y, ROW_WIDTH, position.x, ROW_WIDTH % 4 == 0);
}

// y = the columns SLICE_START .. SLICE_START + SLICE_WIDTH of x.
kernel void slice(device const float *x [[buffer(0)]],
                  device float *y [[buffer(1)]],
                  uint2 position [[thread_position_in_grid]]) {
    x += (ulong)position.y * ROW_WIDTH + SLICE_START;
    y += (ulong)position.y * SLICE_WIDTH;
    copy_quad(x, y, SLICE_WIDTH, position.x, ROW_WIDTH % 4 == 0 && SLICE_START % 4 == 0 && SLICE_WIDTH % 4 == 0);
}
