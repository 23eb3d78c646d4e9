// Causal attention over the paged KV cache, for any mix of rows: decode and prefill are the same kernel with tiles of another shape.
//
// A *tile* is a few rows of one sequence at consecutive positions. A threadgroup works on a tile, a key-value head and a split of the
// context; its *queries* are all query heads of that key-value head for all rows of the tile, so that keys and values are read once for
// them. Scores and weighted sums are products of 8 x 8 matrices, taken straight from the cache's pages: keys and values in f16, queries,
// scores, weights and sums in f32.
//
// Four simdgroups go through the split in blocks of keys. They share a block's scores by keys, its softmax by queries and its weighted sum
// by columns, so each element of the cache is loaded by one simdgroup only. Key tiles of 8 that lie past the tile's last position, or
// before its window, are not loaded.
//
// With one split the result is written at once. Otherwise each split leaves its weighted sums, the score that they are relative to and the
// sum of the weights, and attention_combine puts them together.

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

struct AttentionStep {
    uint pages_per_sequence;  // entries of a page table
    uint rows;                // rows of the step
    uint splits;
    uint split_positions;     // positions of a split, a multiple of the block
};

// QUERY_TILES (1, 2 or 4): room for 8 * QUERY_TILES queries. COLUMN_TILES: HEAD_DIM / 32, rounded up.
//
// Threadgroups: (KV_HEADS * chunks, splits, tiles) of 128 threads, where chunks = 1 unless a key-value head has more query heads than
// there is room for. A tile is (first row, rows), with rows * (query heads of a chunk) <= 8 * QUERY_TILES.
//
// `output` is [rows, HEADS, HEAD_DIM] with one split, else [splits, rows, HEADS, HEAD_DIM] with `stats` [splits, rows, HEADS].
template <uint QUERY_TILES, uint COLUMN_TILES>
kernel void attention(
    device const float *q [[buffer(0)]],         // [rows, HEADS, HEAD_DIM]
    device const half *keys [[buffer(1)]],
    device const half *values [[buffer(2)]],
    device const uint *pages [[buffer(3)]],      // [slots, pages_per_sequence]
    device const uint *positions [[buffer(4)]],  // [rows]
    device const uint *slots [[buffer(5)]],      // [rows]
    constant uint2 *tiles [[buffer(6)]],          // (first row, rows)
    device const float *sinks [[buffer(7), function_constant(HAS_SINKS)]], // [HEADS]
    device float *output [[buffer(8)]],
    device float2 *stats [[buffer(9)]],
    constant AttentionStep &step [[buffer(10)]],
    uint3 group [[threadgroup_position_in_grid]],
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
    threadgroup ulong value_tiles[BLOCK_TILES];
    threadgroup float *queries = (threadgroup float *)queries4;
    threadgroup float *scores = (threadgroup float *)scores4;
    threadgroup float *weights = (threadgroup float *)weights4;

    const uint2 tile = tiles[group.z];
    const uint kv_head = group.x % KV_HEADS;
    const uint ratio = HEADS / KV_HEADS;
    const uint first_in_ratio = group.x / KV_HEADS * QUERIES;
    const uint heads = min(ratio - first_in_ratio, QUERIES);
    const uint first_head = kv_head * ratio + first_in_ratio;
    const uint query_count = tile.y * heads;

    const uint first_position = positions[tile.x];
    const uint end = first_position + tile.y;
    const uint oldest = WINDOW == 0 || first_position < WINDOW ? 0 : first_position + 1 - WINDOW;
    const uint start = oldest / 8 * 8 + group.y * step.split_positions;
    const uint stop = min(end, start + step.split_positions);

    // This lane's query and its part of the softmax.
    const uint query = simdgroup * (QUERIES / SIMDGROUPS) + lane / QUERY_LANES;
    const uint part = lane % QUERY_LANES;
    const uint query_row = query / heads;
    const uint query_position = first_position + query_row;
    const uint query_oldest = WINDOW == 0 || query_position < WINDOW ? 0 : query_position + 1 - WINDOW;
    const ulong query_place = ulong(group.y * step.rows + tile.x + query_row) * HEADS + first_head + query % heads;

    if (start >= end) {
        if (part == 0 && query < query_count) {
            stats[query_place] = float2(LOWEST_SCORE, 0.0f);
        }
        return;
    }

    for (uint i = thread_index; i < QUERIES * HEAD_DIM / 4; i += THREADS) {
        const uint at = i / (HEAD_DIM / 4);
        const uint element = i % (HEAD_DIM / 4) * 4;
        float4 x = float4(0.0f);
        if (at < query_count) {
            const ulong head = ulong(tile.x + at / heads) * HEADS + first_head + at % heads;
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
    threadgroup_barrier(mem_flags::mem_threadgroup);

    device const uint *table = pages + ulong(slots[tile.x]) * step.pages_per_sequence;
    const uint first_column = simdgroup * COLUMN_TILES;
    simdgroup_float8x8 sums[QUERY_TILES][COLUMN_TILES];
    for (uint j = 0; j < QUERY_TILES; ++j) {
        for (uint c = 0; c < COLUMN_TILES; ++c) {
            sums[j][c] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
        }
    }
    float reference = LOWEST_SCORE; // what this query's weights are relative to
    float weight_sum = 0.0f;        // of this lane's keys

    for (uint block = start; block < stop; block += BLOCK) {
        const uint block_tiles = min(BLOCK_TILES, (stop - block + 7) / 8);

        // Scores, transposed: keys x queries.
        simdgroup_float8x8 products[KEY_TILES][QUERY_TILES];
        device const half *key[KEY_TILES];
        const uint first_tile = simdgroup * KEY_TILES;
        for (uint t = 0; t < KEY_TILES; ++t) {
            for (uint j = 0; j < QUERY_TILES; ++j) {
                products[t][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
            }
            key[t] = keys;
            if (first_tile + t < block_tiles) {
                key[t] += kv_element(table, kv_head, block + 8 * (first_tile + t));
            }
        }
        for (uint d = 0; d < HEAD_DIM / 8; ++d) {
            simdgroup_float8x8 query_tile[QUERY_TILES];
            for (uint j = 0; j < QUERY_TILES; ++j) {
                simdgroup_load(query_tile[j], queries + (d * QUERY_TILES + j) * 64, 8);
            }
            for (uint t = 0; t < KEY_TILES; ++t) {
                if (first_tile + t < block_tiles) {
                    simdgroup_half8x8 key_tile;
                    simdgroup_load(key_tile, key[t] + 8 * d, HEAD_DIM);
                    for (uint j = 0; j < QUERY_TILES; ++j) {
                        simdgroup_multiply_accumulate(products[t][j], key_tile, query_tile[j], products[t][j]);
                    }
                }
            }
        }
        for (uint t = 0; t < KEY_TILES; ++t) {
            if (first_tile + t < block_tiles) {
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
            factor = exp(reference - largest);
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
        if (thread_index < block_tiles) {
            value_tiles[thread_index] = kv_element(table, kv_head, block + 8 * thread_index);
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
            device const half *value = values + value_tiles[t];
            for (uint c = 0; c < COLUMN_TILES; ++c) {
                if (first_column + c < HEAD_DIM / 8) {
                    simdgroup_half8x8 value_tile;
                    simdgroup_load(value_tile, value + 8 * (first_column + c), HEAD_DIM);
                    for (uint j = 0; j < QUERY_TILES; ++j) {
                        simdgroup_multiply_accumulate(sums[j][c], weight_tile[j], value_tile, sums[j][c]);
                    }
                }
            }
        }
    }

    for (uint distance = 1; distance < QUERY_LANES; distance *= 2) {
        weight_sum += simd_shuffle_xor(weight_sum, distance);
    }
    if (part == 0) {
        float factor = 1.0f;
        if (step.splits == 1) {
            if (HAS_SINKS && query < query_count) {
                const float sink = sinks[first_head + query % heads];
                const float largest = max(reference, sink);
                factor = exp(reference - largest);
                weight_sum = weight_sum * factor + exp(sink - largest);
            }
            factor /= weight_sum;
        } else if (query < query_count) {
            stats[query_place] = float2(reference, weight_sum);
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
    for (uint i = thread_index; i < query_count * HEAD_DIM / 4; i += THREADS) {
        const uint at = i / (HEAD_DIM / 4);
        const ulong head = ulong(group.y * step.rows + tile.x + at / heads) * HEADS + first_head + at % heads;
        device float4 *to = (device float4 *)(output + head * HEAD_DIM) + i % (HEAD_DIM / 4);
        *to = queries4[i] * factors[at];
    }
}

// Puts the splits of a row and head together. Threadgroups: (HEADS, rows) of HEAD_DIM / 4 threads.
kernel void attention_combine(
    device const float4 *partial [[buffer(0)]], // [splits, rows, HEADS, HEAD_DIM / 4]
    device const float2 *stats [[buffer(1)]],   // [splits, rows, HEADS]
    device const float *sinks [[buffer(2), function_constant(HAS_SINKS)]], // [HEADS]
    device float4 *output [[buffer(3)]],        // [rows, HEADS, HEAD_DIM / 4]
    constant AttentionStep &step [[buffer(4)]],
    uint2 group [[threadgroup_position_in_grid]],
    uint column [[thread_index_in_threadgroup]]
) {
    const uint place = group.y * HEADS + group.x;
    const uint stride = step.rows * HEADS;
    float largest = LOWEST_SCORE;
    for (uint split = 0; split < step.splits; ++split) {
        largest = max(largest, stats[split * stride + place].x);
    }
    float weight_sum = 0.0f;
    if (HAS_SINKS) {
        const float sink = sinks[group.x];
        largest = max(largest, sink);
        weight_sum = exp(sink - largest);
    }
    float4 sum = float4(0.0f);
    for (uint split = 0; split < step.splits; ++split) {
        const float2 stat = stats[split * stride + place];
        // A split in which the row sees nothing has left no sums.
        if (stat.y != 0.0f) {
            const float factor = exp(stat.x - largest);
            weight_sum += stat.y * factor;
            sum += partial[ulong(split * stride + place) * (HEAD_DIM / 4) + column] * factor;
        }
    }
    output[ulong(place) * (HEAD_DIM / 4) + column] = sum / weight_sum;
}
