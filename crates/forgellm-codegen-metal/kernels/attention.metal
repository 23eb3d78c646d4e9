// Causal attention over the paged KV cache, for any mix of rows: decode and prefill are the same kernel with tiles of another shape.
//
// A *tile* is a few rows of one sequence at consecutive positions; a *split* of it is a part of the positions that they see. A threadgroup
// works on a split of a tile and a key-value head. Its *queries* are all query heads of that key-value head for all rows of the tile, so
// that keys and values are read once for them. Scores and weighted sums are products of 8 x 8 matrices, taken straight from the cache's
// pages: keys and values in f16, queries, scores, weights and sums in f32.
//
// Four simdgroups go through the split in blocks of keys. They share a block's scores by keys, its softmax by queries and its weighted sum
// by columns, so each element of the cache is loaded by one simdgroup only. What lies outside of the split, in units of 8 positions, is
// not loaded.
//
// The only split of a tile writes the result. Otherwise each leaves its weighted sums, the score that they are relative to and the sum of
// the weights, and attention_combine puts them together.

constant float SCALE [[function_constant(34)]];    // factor on scores
constant float SOFTCAP [[function_constant(35)]];  // scores become SOFTCAP * tanh(score / SOFTCAP); 0: they do not
constant uint WINDOW [[function_constant(36)]];    // a row sees so many positions, its own among them; 0: all
constant bool HAS_SINKS [[function_constant(37)]]; // whether a logit per head takes part in the softmax but gives nothing


// A finite score below all others: fast arithmetic knows no infinity.
constant constexpr float LOWEST_SCORE = -1.0e38f;

// How much larger than the score that weights are relative to a score may be. While that holds, the sums need no rescaling; weights stay
// below e^8.
constant constexpr float HEADROOM = 8.0f;

constant constexpr uint SIMDGROUPS = 4;

// Room in threadgroup memory for unpacked keys or values of a simdgroup, in elements.
constant constexpr uint UNPACKED = 512;

// A split of a tile.
struct AttentionItem {
    uint first_row;
    uint rows;
    uint position; // of the first row
    uint table;    // where the sequence's page table begins, in entries
    uint start;    // first position of the split: a multiple of 8
    uint stop;     // end of the split: at most position + rows
    uint partial;  // where its sums go: an index, or DIRECT if it is the tile's only split
    uint reserved;
};

constant constexpr uint DIRECT = 0xffffffff;

// Unpacks 8 * `matrices` elements of 8 positions of a q8_0 cache, from `first` on, into matrices of 8 positions x 8 elements. `cache` is where
// keys or values begin, `codes` where those of the first position do.
inline void unpack_q8(device const half *cache, ulong codes, uint position, uint first, uint matrices, uint lane, threadgroup half *to) {
    device const char *code = (device const char *)cache + codes + first;
    device const half *scale = cache + q8_scales(codes, position) / 2;
    for (uint i = lane; i < 8 * matrices; i += 32) {
        const uint row = i / matrices;
        const uint matrix = i % matrices;
        const uint2 packed = *(device const uint2 *)(code + row * HEAD_DIM + 8 * matrix);
        const float factor = scale[row * (HEAD_DIM / 32) + (first + 8 * matrix) / 32];
        threadgroup half4 *place = (threadgroup half4 *)(to + 64 * matrix + 8 * row);
        place[0] = half4(float4(as_type<char4>(packed.x)) * factor);
        place[1] = half4(float4(as_type<char4>(packed.y)) * factor);
    }
}

// Where a position's key or value lies: in elements of an f16 cache, in bytes of a q8_0 cache.
inline ulong kv_place(device const uint *table, uint kv_head, uint position) {
    return KV_Q8 ? q8_codes(table, kv_head, position) : kv_element(table, kv_head, position);
}

// products = keys * queries, for `tiles` tiles of 8 keys from `position` on, which lie at `places`. `unpacked`: memory of the simdgroup, for a
// q8_0 cache.
template <uint KEY_TILES, uint QUERY_TILES>
inline void score_keys(
    thread simdgroup_float8x8 (&products)[KEY_TILES][QUERY_TILES],
    device const half *keys,
    threadgroup const ulong *places,
    uint position,
    uint tiles,
    threadgroup const float *queries,
    threadgroup half *unpacked,
    uint lane
) {
    for (uint t = 0; t < KEY_TILES; ++t) {
        for (uint j = 0; j < QUERY_TILES; ++j) {
            products[t][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
        }
    }
    simdgroup_float8x8 query_tile[QUERY_TILES];
    simdgroup_half8x8 key_tile;
    if (!KV_Q8) {
        for (uint d = 0; d < HEAD_DIM / 8; ++d) {
            for (uint j = 0; j < QUERY_TILES; ++j) {
                simdgroup_load(query_tile[j], queries + (d * QUERY_TILES + j) * 64, 8);
            }
            for (uint t = 0; t < KEY_TILES; ++t) {
                if (t < tiles) {
                    simdgroup_load(key_tile, keys + places[t] + 8 * d, HEAD_DIM);
                    for (uint j = 0; j < QUERY_TILES; ++j) {
                        simdgroup_multiply_accumulate(products[t][j], key_tile, query_tile[j], products[t][j]);
                    }
                }
            }
        }
        return;
    }
    for (uint d = 0; d < HEAD_DIM / 8; d += 4) {
        for (uint t = 0; t < KEY_TILES; ++t) {
            if (t < tiles) {
                unpack_q8(keys, places[t], position + 8 * t, 8 * d, 4, lane, unpacked);
                simdgroup_barrier(mem_flags::mem_threadgroup);
                for (uint e = 0; e < 4; ++e) {
                    simdgroup_load(key_tile, unpacked + 64 * e, 8);
                    for (uint j = 0; j < QUERY_TILES; ++j) {
                        simdgroup_load(query_tile[j], queries + ((d + e) * QUERY_TILES + j) * 64, 8);
                        simdgroup_multiply_accumulate(products[t][j], key_tile, query_tile[j], products[t][j]);
                    }
                }
                simdgroup_barrier(mem_flags::mem_threadgroup);
            }
        }
    }
}

// sums += weights * values, for 8 values from `position` on, of which `place` is the first, and the columns from 8 * first_column on.
template <uint QUERY_TILES, uint COLUMN_TILES>
inline void add_values(
    thread simdgroup_float8x8 (&sums)[QUERY_TILES][COLUMN_TILES],
    thread simdgroup_float8x8 (&weights)[QUERY_TILES],
    device const half *values,
    ulong place,
    uint position,
    uint first_column,
    threadgroup half *unpacked,
    uint lane
) {
    if (KV_Q8) {
        // The heads of such a cache have a whole number of columns for each simdgroup.
        unpack_q8(values, place, position, 8 * first_column, COLUMN_TILES, lane, unpacked);
        simdgroup_barrier(mem_flags::mem_threadgroup);
    }
    for (uint c = 0; c < COLUMN_TILES; ++c) {
        if (first_column + c < HEAD_DIM / 8) {
            simdgroup_half8x8 value_tile;
            if (KV_Q8) {
                simdgroup_load(value_tile, unpacked + 64 * c, 8);
            } else {
                simdgroup_load(value_tile, values + place + 8 * (first_column + c), HEAD_DIM);
            }
            for (uint j = 0; j < QUERY_TILES; ++j) {
                simdgroup_multiply_accumulate(sums[j][c], weights[j], value_tile, sums[j][c]);
            }
        }
    }
    if (KV_Q8) {
        simdgroup_barrier(mem_flags::mem_threadgroup);
    }
}

// QUERY_TILES (1, 2 or 4): room for 8 * QUERY_TILES queries. COLUMN_TILES: HEAD_DIM / 32, rounded up.
//
// Threadgroups: (KV_HEADS * chunks, items) of 128 threads, where chunks = 1 unless a key-value head has more query heads than there is room
// for. An item's rows * (query heads of a chunk) are at most 8 * QUERY_TILES.
template <uint QUERY_TILES, uint COLUMN_TILES>
kernel void attention(
    device const float *q [[buffer(0)]],         // [rows, HEADS, HEAD_DIM]
    device const half *keys [[buffer(1)]],
    device const half *values [[buffer(2)]],
    device const uint *tables [[buffer(3)]],     // page tables of sequences
    constant uint *items [[buffer(4)]],          // AttentionItem
    device const float *sinks [[buffer(5), function_constant(HAS_SINKS)]], // [HEADS]
    device float *output [[buffer(6)]],          // [rows, HEADS, HEAD_DIM]
    device float *partials [[buffer(7)]],        // [partials, KV_HEADS * chunks, 8 * QUERY_TILES, HEAD_DIM]
    device float2 *stats [[buffer(8)]],          // [partials, KV_HEADS * chunks, 8 * QUERY_TILES]
    uint2 group [[threadgroup_position_in_grid]],
    uint2 groups [[threadgroups_per_grid]],
    uint thread_index [[thread_index_in_threadgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]]
) {
    constexpr uint THREADS = 32 * SIMDGROUPS;
    constexpr uint QUERIES = 8 * QUERY_TILES;
    // Key tiles of a simdgroup in a block: a simdgroup has 4 tiles of scores.
    constexpr uint KEY_TILES = 4 / QUERY_TILES;
    constexpr uint BLOCK_TILES = KEY_TILES * SIMDGROUPS;
    constexpr uint BLOCK = 8 * BLOCK_TILES;
    // Lanes that share the softmax of a query; each takes one key tile of the block.
    constexpr uint QUERY_LANES = THREADS / QUERIES;
    // Padded, so that rows start at different banks.
    constexpr uint BLOCK_STRIDE = BLOCK + 4;

    // Before the end: [HEAD_DIM / 8][QUERY_TILES] tiles of 8 elements x 8 queries. At the end: sums [QUERIES][HEAD_DIM].
    threadgroup float4 queries4[QUERIES * COLUMN_TILES * 8];
    threadgroup float4 scores4[QUERIES * BLOCK_STRIDE / 4];
    threadgroup float4 weights4[QUERIES * BLOCK_STRIDE / 4];
    // Diagonal matrices that rescale the sums of 8 queries; which simdgroup's queries need that.
    threadgroup float rescale[QUERY_TILES * 64];
    threadgroup uint rescales[SIMDGROUPS];
    threadgroup float factors[QUERIES];
    // Where the key tiles of this and of the next block lie, and the value tiles.
    threadgroup ulong places[2][BLOCK_TILES];
    threadgroup AttentionItem shared_item;
    threadgroup float *queries = (threadgroup float *)queries4;
    threadgroup float *scores = (threadgroup float *)scores4;
    threadgroup float *weights = (threadgroup float *)weights4;
    // Between softmax and the next scores, the scores' memory is free for unpacked keys and values.
    threadgroup half *unpacked = (threadgroup half *)scores4 + UNPACKED * simdgroup;

    // Each word is loaded once.
    constexpr uint ITEM_WORDS = sizeof(AttentionItem) / sizeof(uint);
    if (thread_index < ITEM_WORDS) {
        ((threadgroup uint *)&shared_item)[thread_index] = items[group.y * ITEM_WORDS + thread_index];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const AttentionItem item = shared_item;
    const uint kv_head = group.x % KV_HEADS;
    const uint ratio = HEADS / KV_HEADS;
    const uint first_in_ratio = group.x / KV_HEADS * QUERIES;
    const uint heads = min(ratio - first_in_ratio, QUERIES);
    const uint first_head = kv_head * ratio + first_in_ratio;
    const uint query_count = item.rows * heads;
    const ulong first_partial = (ulong(item.partial) * groups.x + group.x) * QUERIES;

    // This lane's query and its part of the softmax.
    const uint query = simdgroup * (QUERIES / SIMDGROUPS) + lane / QUERY_LANES;
    const uint part = lane % QUERY_LANES;
    const uint query_position = item.position + query / heads;
    const uint query_oldest = WINDOW == 0 || query_position < WINDOW ? 0 : query_position + 1 - WINDOW;

    for (uint i = thread_index; i < QUERIES * HEAD_DIM / 4; i += THREADS) {
        const uint at = i / (HEAD_DIM / 4);
        const uint element = i % (HEAD_DIM / 4) * 4;
        float4 x = float4(0.0f);
        if (at < query_count) {
            const ulong head = ulong(item.first_row + at / heads) * HEADS + first_head + at % heads;
            x = *(device const float4 *)(q + head * HEAD_DIM + element) * SCALE;
        }
        threadgroup float *to = queries + (element / 8 * QUERY_TILES + at / 8) * 64 + element % 8 * 8 + at % 8;
        for (uint j = 0; j < 4; ++j) {
            to[8 * j] = x[j];
        }
    }
    for (uint i = thread_index; i < QUERY_TILES * 64; i += THREADS) {
        rescale[i] = 0.0f;
    }
    device const uint *table = tables + item.table;
    if (item.start + 8 * thread_index < item.stop && thread_index < BLOCK_TILES) {
        places[0][thread_index] = kv_place(table, kv_head, item.start + 8 * thread_index);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);

    const uint first_column = simdgroup * COLUMN_TILES;
    simdgroup_float8x8 sums[QUERY_TILES][COLUMN_TILES];
    for (uint j = 0; j < QUERY_TILES; ++j) {
        for (uint c = 0; c < COLUMN_TILES; ++c) {
            sums[j][c] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
        }
    }
    float reference = LOWEST_SCORE; // what this query's weights are relative to
    float weight_sum = 0.0f;        // of this lane's keys

    uint parity = 0;
    for (uint block = item.start; block < item.stop; block += BLOCK, parity ^= 1) {
        const uint block_tiles = min(BLOCK_TILES, (item.stop - block + 7) / 8);

        // Scores, transposed: keys x queries.
        simdgroup_float8x8 products[KEY_TILES][QUERY_TILES];
        const uint first_tile = simdgroup * KEY_TILES;
        const uint tiles = min(KEY_TILES, block_tiles - min(block_tiles, first_tile));
        score_keys(products, keys, places[parity] + first_tile, block + 8 * first_tile, tiles, queries, unpacked, lane);
        if (KV_Q8) {
            // Others may still unpack where the scores go.
            threadgroup_barrier(mem_flags::mem_threadgroup);
        }
        for (uint t = 0; t < KEY_TILES; ++t) {
            if (t < tiles) {
                for (uint j = 0; j < QUERY_TILES; ++j) {
                    threadgroup float *to = scores + 8 * j * BLOCK_STRIDE + 8 * (first_tile + t);
                    simdgroup_store(products[t][j], to, BLOCK_STRIDE, ulong2(0, 0), true);
                }
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);

        // Softmax: each lane takes 8 keys of a query.
        const uint position = block + 8 * part;
        const bool in_block = part < block_tiles && query < query_count;
        const uint at = (query * BLOCK_STRIDE + 8 * part) / 4;
        float4 score[2] = {float4(LOWEST_SCORE), float4(LOWEST_SCORE)};
        if (in_block) {
            for (uint h = 0; h < 2; ++h) {
                float4 x = scores4[at + h];
                if (SOFTCAP != 0.0f) {
                    x = SOFTCAP * precise::tanh(x / SOFTCAP);
                }
                const uint4 key_position = uint4(position + 4 * h) + uint4(0, 1, 2, 3);
                const bool4 seen = (key_position <= uint4(query_position)) & (key_position >= uint4(query_oldest));
                score[h] = select(float4(LOWEST_SCORE), x, seen);
            }
        }
        const float4 larger = max(score[0], score[1]);
        float largest = max(max(larger.x, larger.y), max(larger.z, larger.w));
        for (uint distance = 1; distance < QUERY_LANES; distance *= 2) {
            largest = max(largest, simd_shuffle_xor(largest, distance));
        }
        float factor = 1.0f;
        if (largest > reference + HEADROOM) {
            // Before the first key there is nothing to rescale.
            factor = reference == LOWEST_SCORE ? 1.0f : exp(reference - largest);
            reference = largest;
        }
        const bool any_rescale = simd_any(factor != 1.0f);
        weight_sum *= factor;
        if (part < block_tiles) {
            for (uint h = 0; h < 2; ++h) {
                const float4 weight = select(exp(score[h] - reference), float4(0.0f), score[h] == float4(LOWEST_SCORE));
                weights4[at + h] = weight;
                weight_sum += (weight.x + weight.y) + (weight.z + weight.w);
            }
        }
        if (part == 0) {
            rescale[query / 8 * 64 + query % 8 * 9] = factor;
        }
        if (lane == 0) {
            rescales[simdgroup] = any_rescale;
        }
        const uint next = block + BLOCK + 8 * thread_index;
        if (next < item.stop && thread_index < BLOCK_TILES) {
            places[parity ^ 1][thread_index] = kv_place(table, kv_head, next);
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);

        // Weighted sums.
        for (uint j = 0; j < QUERY_TILES; ++j) {
            uint any = 0;
            for (uint s = j * SIMDGROUPS / QUERY_TILES; s < (j + 1) * SIMDGROUPS / QUERY_TILES; ++s) {
                any |= rescales[s];
            }
            if (any != 0) {
                simdgroup_float8x8 diagonal;
                simdgroup_load(diagonal, rescale + 64 * j, 8);
                for (uint c = 0; c < COLUMN_TILES; ++c) {
                    simdgroup_float8x8 sum = sums[j][c];
                    simdgroup_multiply(sums[j][c], diagonal, sum);
                }
            }
        }
        for (uint t = 0; t < block_tiles; ++t) {
            simdgroup_float8x8 weight_tile[QUERY_TILES];
            for (uint j = 0; j < QUERY_TILES; ++j) {
                simdgroup_load(weight_tile[j], weights + 8 * j * BLOCK_STRIDE + 8 * t, BLOCK_STRIDE);
            }
            add_values(sums, weight_tile, values, places[parity][t], block + 8 * t, first_column, unpacked, lane);
        }
    }

    for (uint distance = 1; distance < QUERY_LANES; distance *= 2) {
        weight_sum += simd_shuffle_xor(weight_sum, distance);
    }
    if (part == 0) {
        float factor = 1.0f;
        if (item.partial == DIRECT) {
            if (HAS_SINKS && query < query_count) {
                const float sink = sinks[first_head + query % heads];
                const float largest = max(reference, sink);
                factor = exp(reference - largest);
                weight_sum = weight_sum * factor + exp(sink - largest);
            }
            factor /= weight_sum;
        } else if (query < query_count) {
            stats[first_partial + query] = float2(reference, weight_sum);
        }
        factors[query] = factor;
    }
    // The queries' last reader has passed the barriers of the last block.
    for (uint j = 0; j < QUERY_TILES; ++j) {
        for (uint c = 0; c < COLUMN_TILES; ++c) {
            if (first_column + c < HEAD_DIM / 8) {
                simdgroup_store(sums[j][c], queries + 8 * j * HEAD_DIM + 8 * (first_column + c), HEAD_DIM);
            }
        }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint i = thread_index; i < query_count * (HEAD_DIM / 4); i += THREADS) {
        const uint at = i / (HEAD_DIM / 4);
        const ulong head = ulong(item.first_row + at / heads) * HEADS + first_head + at % heads;
        device float *to = item.partial == DIRECT ? output + head * HEAD_DIM : partials + (first_partial + at) * HEAD_DIM;
        ((device float4 *)to)[i % (HEAD_DIM / 4)] = queries4[i] * factors[at];
    }
}

// A tile whose splits are to be put together.
struct AttentionSplits {
    uint first_row;
    uint rows;
    uint first_partial;
    uint splits;
};

// Puts the splits of tiles together. Threadgroups: (HEADS, rows of the largest tile, tiles) of 32 threads. `queries` is 8 * QUERY_TILES of the
// attention.
kernel void attention_combine(
    device const float4 *partials [[buffer(0)]], // [partials, KV_HEADS * chunks, queries, HEAD_DIM / 4]
    device const float2 *stats [[buffer(1)]],    // [partials, KV_HEADS * chunks, queries]
    device const float *sinks [[buffer(2), function_constant(HAS_SINKS)]], // [HEADS]
    device float4 *output [[buffer(3)]],         // [rows, HEADS, HEAD_DIM / 4]
    constant AttentionSplits *tiles [[buffer(4)]],
    constant uint &queries [[buffer(5)]],
    uint3 group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]]
) {
    threadgroup float factors[32];
    const AttentionSplits tile = tiles[group.z];
    const uint head = group.x;
    const uint row = group.y;
    if (row >= tile.rows) {
        return;
    }
    const uint ratio = HEADS / KV_HEADS;
    const uint chunks = (ratio + queries - 1) / queries;
    const uint chunk = head % ratio / queries;
    const uint heads = min(ratio - chunk * queries, queries);
    const uint query = row * heads + head % ratio % queries;
    const ulong first = (ulong(tile.first_partial) * chunks * KV_HEADS + chunk * KV_HEADS + head / ratio) * queries + query;
    const uint stride = KV_HEADS * chunks * queries;

    float largest = LOWEST_SCORE;
    for (uint split = lane; split < tile.splits; split += 32) {
        largest = max(largest, stats[first + split * stride].x);
    }
    largest = simd_max(largest);
    float sink_weight = 0.0f;
    if (HAS_SINKS) {
        const float sink = sinks[head];
        largest = max(largest, sink);
        sink_weight = exp(sink - largest);
    }

    // The factors of 32 splits at a time, a lane each; then each lane has up to 8 columns of them.
    float4 sums[2] = {float4(0.0f), float4(0.0f)};
    float weight_sum = 0.0f;
    for (uint begin = 0; begin < tile.splits; begin += 32) {
        const uint count = min(tile.splits - begin, 32u);
        if (lane < count) {
            const float2 stat = stats[first + (begin + lane) * stride];
            const float factor = exp(stat.x - largest);
            factors[lane] = factor;
            weight_sum += stat.y * factor;
        }
        simdgroup_barrier(mem_flags::mem_threadgroup);
        for (uint i = 0; i < count; ++i) {
            device const float4 *partial = partials + (first + (begin + i) * stride) * (HEAD_DIM / 4);
            const float factor = factors[i];
            for (uint c = 0; c < 2; ++c) {
                if (lane + 32 * c < HEAD_DIM / 4) {
                    sums[c] += partial[lane + 32 * c] * factor;
                }
            }
        }
        simdgroup_barrier(mem_flags::mem_threadgroup);
    }
    weight_sum = simd_sum(weight_sum) + sink_weight;
    device float4 *to = output + (ulong(tile.first_row + row) * HEADS + head) * (HEAD_DIM / 4);
    for (uint c = 0; c < 2; ++c) {
        if (lane + 32 * c < HEAD_DIM / 4) {
            to[lane + 32 * c] = sums[c] / weight_sum;
        }
    }
}
