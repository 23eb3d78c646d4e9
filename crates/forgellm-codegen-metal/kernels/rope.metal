// Rotary position embedding (Su et al. 2021, arXiv 2104.09864), and the way of keys and values into the cache.

constant uint ROTARY_DIM [[function_constant(40)]];   // the first so many elements of a head turn: even, at most HEAD_DIM
constant bool INTERLEAVED [[function_constant(41)]];  // pairs are (2i, 2i + 1); otherwise (i, i + ROTARY_DIM / 2)
constant float ROPE_FACTOR [[function_constant(42)]]; // on sine and cosine
constant bool HAS_Q_NORM [[function_constant(43)]];   // whether query heads are normed
constant bool HAS_K_NORM [[function_constant(44)]];   // whether key heads are normed
constant float Q_NORM_EPS [[function_constant(45)]];
constant float K_NORM_EPS [[function_constant(46)]];

// The two elements of a head that are pair `pair`. From ROTARY_DIM / 2 on, pairs do not turn and lie side by side.
inline uint2 rope_elements(uint pair) {
    return INTERLEAVED || pair >= ROTARY_DIM / 2 ? uint2(2 * pair, 2 * pair + 1) : uint2(pair, pair + ROTARY_DIM / 2);
}

// Cosine and sine of position * frequency. Rounded to f32, an angle as long as the context would be off by up to half a unit in its last place,
// 0.004 at position 100,000. So the product is kept in two parts, and whole turns are taken off by a 2 pi in three parts before they are added.
inline float2 rope_cos_sin(uint position, float frequency) {
    const float high = float(position) * frequency;
    const float low = fma(float(position), frequency, -high);
    const float turns = rint(high * 0.15915494f);
    float angle = fma(-turns, 6.28125f, high);
    angle = fma(-turns, 0.00193530717f, angle);
    angle = fma(-turns, 1.02533763e-11f, angle) + low;
    return float2(precise::cos(angle), precise::sin(angle));
}

// `x` turned as pair `pair` < ROTARY_DIM / 2 at `position`. `frequencies`: angle per position [ROTARY_DIM / 2].
inline float2 rope_turn(float2 x, uint pair, uint position, device const float *frequencies) {
    const float2 turned = rope_cos_sin(position, frequencies[pair]);
    const float c = turned.x * ROPE_FACTOR;
    const float s = turned.y * ROPE_FACTOR;
    return float2(x.x * c - x.y * s, x.x * s + x.y * c);
}

// Writes the elements `first` .. + 4 of a position's key (or value) to a q8_0 cache. The 8 lanes that have the 32 elements of a scale come
// together, in order.
inline void write_q8(device half *cache, device const uint *table, uint kv_head, uint position, uint first, float4 x) {
    const float4 size = abs(x);
    float largest = max(max(size.x, size.y), max(size.z, size.w));
    largest = max(largest, simd_shuffle_xor(largest, 1));
    largest = max(largest, simd_shuffle_xor(largest, 2));
    largest = max(largest, simd_shuffle_xor(largest, 4));
    const half scale = q8_scale(largest);
    const ulong codes = q8_codes(table, kv_head, position);
    *(device char4 *)((device char *)cache + codes + first) = q8_code(x, scale);
    if (first % 32 == 0) {
        cache[q8_scales(codes, position) / 2 + first / 32] = scale;
    }
}

// From rows [queries | keys | values] to attention: norms and turns queries into `q` and keys into the cache, puts values into the cache.
//
// A simdgroup does a head, a lane up to 4 pairs of it. Threadgroups: ((HEADS + 2 * KV_HEADS) / 4 rounded up, rows) of 128 threads.
kernel void qkv_rope(
    device const float *qkv [[buffer(0)]],         // [rows, HEADS + 2 * KV_HEADS, HEAD_DIM]
    device float *q [[buffer(1)]],                 // [rows, HEADS, HEAD_DIM]
    device half *keys [[buffer(2)]],
    device half *values [[buffer(3)]],
    device const uint *pages [[buffer(4)]],        // [slots, pages_per_sequence]
    device const uint *positions [[buffer(5)]],    // [rows]
    device const uint *slots [[buffer(6)]],        // [rows]
    device const float *frequencies [[buffer(7)]], // [ROTARY_DIM / 2]
    device const float *q_norm [[buffer(8), function_constant(HAS_Q_NORM)]], // [HEAD_DIM]
    device const float *k_norm [[buffer(9), function_constant(HAS_K_NORM)]], // [HEAD_DIM]
    constant uint &pages_per_sequence [[buffer(10)]],
    uint2 group [[threadgroup_position_in_grid]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]]
) {
    threadgroup float4 turned4[4 * 64]; // for a q8_0 cache: the heads in order
    const uint all = HEADS + 2 * KV_HEADS;
    const uint head = group.x * 4 + simdgroup;
    const uint row = group.y;
    if (head >= all) {
        return;
    }
    const bool is_query = head < HEADS;
    const bool is_value = head >= HEADS + KV_HEADS;
    const uint position = positions[row];
    device const float *source = qkv + (ulong(row) * all + head) * HEAD_DIM;

    float2 pairs[4];
    float squares = 0.0f;
    for (uint i = 0; i < 4; ++i) {
        const uint pair = lane + 32 * i;
        if (pair < HEAD_DIM / 2) {
            const uint2 at = rope_elements(pair);
            pairs[i] = float2(source[at.x], source[at.y]);
            squares += dot(pairs[i], pairs[i]);
        }
    }
    if (HAS_Q_NORM && is_query) {
        const float factor = rsqrt(simd_sum(squares) / HEAD_DIM + Q_NORM_EPS);
        for (uint i = 0; i < 4; ++i) {
            const uint pair = lane + 32 * i;
            if (pair < HEAD_DIM / 2) {
                const uint2 at = rope_elements(pair);
                pairs[i] *= factor * float2(q_norm[at.x], q_norm[at.y]);
            }
        }
    }
    if (HAS_K_NORM && !is_query && !is_value) {
        const float factor = rsqrt(simd_sum(squares) / HEAD_DIM + K_NORM_EPS);
        for (uint i = 0; i < 4; ++i) {
            const uint pair = lane + 32 * i;
            if (pair < HEAD_DIM / 2) {
                const uint2 at = rope_elements(pair);
                pairs[i] *= factor * float2(k_norm[at.x], k_norm[at.y]);
            }
        }
    }
    if (!is_value) {
        for (uint i = 0; i < 4; ++i) {
            const uint pair = lane + 32 * i;
            if (pair < ROTARY_DIM / 2) {
                pairs[i] = rope_turn(pairs[i], pair, position, frequencies);
            }
        }
    }

    if (is_query) {
        device float *to = q + (ulong(row) * HEADS + head) * HEAD_DIM;
        for (uint i = 0; i < 4; ++i) {
            const uint pair = lane + 32 * i;
            if (pair < HEAD_DIM / 2) {
                const uint2 at = rope_elements(pair);
                to[at.x] = pairs[i].x;
                to[at.y] = pairs[i].y;
            }
        }
    } else {
        const uint kv_head = (head - HEADS) % KV_HEADS;
        device const uint *table = pages + ulong(slots[row]) * pages_per_sequence;
        device half *cache = is_value ? values : keys;
        if (KV_Q8) {
            threadgroup float *in_order = (threadgroup float *)(turned4 + 64 * simdgroup);
            for (uint i = 0; i < 4; ++i) {
                const uint pair = lane + 32 * i;
                if (pair < HEAD_DIM / 2) {
                    const uint2 at = rope_elements(pair);
                    in_order[at.x] = pairs[i].x;
                    in_order[at.y] = pairs[i].y;
                }
            }
            simdgroup_barrier(mem_flags::mem_threadgroup);
            // 4 elements a lane: 8 lanes share a scale.
            for (uint first = 4 * lane; first < HEAD_DIM; first += 128) {
                const float4 x = *(threadgroup const float4 *)(in_order + first);
                write_q8(cache, table, kv_head, position, first, x);
            }
            return;
        }
        device half *to = cache + kv_element(table, kv_head, position);
        for (uint i = 0; i < 4; ++i) {
            const uint pair = lane + 32 * i;
            if (pair < HEAD_DIM / 2) {
                const uint2 at = rope_elements(pair);
                to[at.x] = to_cache(pairs[i].x);
                to[at.y] = to_cache(pairs[i].y);
            }
        }
    }
}

// y = x with every head turned; y may be x. A thread does a pair. Threadgroups: (HEADS * HEAD_DIM / 2 / 128 rounded up, rows) of 128 threads,
// where HEADS are those of a row of x.
kernel void rope(
    device const float *x [[buffer(0)]],           // [rows, HEADS, HEAD_DIM]
    device float *y [[buffer(1)]],                 // [rows, HEADS, HEAD_DIM]
    device const uint *positions [[buffer(2)]],    // [rows]
    device const float *frequencies [[buffer(3)]], // [ROTARY_DIM / 2]
    uint2 group [[threadgroup_position_in_grid]],
    uint thread_index [[thread_index_in_threadgroup]]
) {
    const uint item = group.x * 128 + thread_index;
    if (item >= HEADS * (HEAD_DIM / 2)) {
        return;
    }
    const uint pair = item % (HEAD_DIM / 2);
    const ulong head = (ulong(group.y) * HEADS + item / (HEAD_DIM / 2)) * HEAD_DIM;
    const uint2 at = rope_elements(pair);
    float2 value = float2(x[head + at.x], x[head + at.y]);
    if (pair < ROTARY_DIM / 2) {
        value = rope_turn(value, pair, positions[group.y], frequencies);
    }
    y[head + at.x] = value.x;
    y[head + at.y] = value.y;
}

// Puts keys and values of rows into the cache, 4 elements a thread. Threadgroups: (2 * KV_HEADS * HEAD_DIM / 4 / 128 rounded up, rows) of
// 128 threads.
kernel void kv_write(
    device const float4 *k [[buffer(0)]],       // [rows, KV_HEADS, HEAD_DIM / 4]
    device const float4 *v [[buffer(1)]],       // [rows, KV_HEADS, HEAD_DIM / 4]
    device half *keys [[buffer(2)]],
    device half *values [[buffer(3)]],
    device const uint *pages [[buffer(4)]],     // [slots, pages_per_sequence]
    device const uint *positions [[buffer(5)]], // [rows]
    device const uint *slots [[buffer(6)]],     // [rows]
    constant uint &pages_per_sequence [[buffer(7)]],
    uint2 group [[threadgroup_position_in_grid]],
    uint thread_index [[thread_index_in_threadgroup]]
) {
    const uint row = group.y;
    const uint width = KV_HEADS * (HEAD_DIM / 4);
    const uint item = group.x * 128 + thread_index;
    if (item >= 2 * width) {
        return;
    }
    const bool is_value = item >= width;
    const uint column = is_value ? item - width : item;
    const float4 x = (is_value ? v : k)[ulong(row) * width + column];
    device const uint *table = pages + ulong(slots[row]) * pages_per_sequence;
    device half *cache = is_value ? values : keys;
    const uint kv_head = column / (HEAD_DIM / 4);
    const uint first = column % (HEAD_DIM / 4) * 4;
    if (KV_Q8) {
        write_q8(cache, table, kv_head, positions[row], first, x);
    } else {
        device half *to = cache + kv_element(table, kv_head, positions[row]) + first;
        *(device half4 *)to = half4(to_cache(x.x), to_cache(x.y), to_cache(x.z), to_cache(x.w));
    }
}
