// From the hidden state to attention for 1 to 8 rows: sum and norm as in mat_vec.metal, queries, keys and values with their biases, norms of
// heads, rope, and the write into the cache, in one dispatch.
//
// A threadgroup computes S * 4 * TEAM_PAIRS pairs of elements of one head of queries, keys or values (S: its simdgroups); a pair is what rope
// turns together, and it is one team's, so turning needs no exchange. Heads with a norm of their own are computed by one threadgroup. Traffic is
// that of mat_vec.metal; queries, keys and values before rope are never in memory.

// The most simdgroups of a threadgroup.
constant uint QKV_SIMDGROUPS = 16;

// Without norms, sum or biases, the host binds anything in their place. `rows` is at most BATCH. Threadgroups: (slices of a head, heads of
// queries, keys and values).
template <typename A, typename B, typename C, uint TEAM_PAIRS, uint BATCH>
[[kernel, max_total_threads_per_threadgroup(512)]]
void qkv(device const float *x [[buffer(0)]],
         device float *q [[buffer(2)]],
         constant uint &rows [[buffer(3)]],
         device const uchar *weights_0 [[buffer(4)]],
         device const uchar *weights_1 [[buffer(5)]],
         device const uchar *weights_2 [[buffer(6)]],
         device const float *bias_0 [[buffer(7)]],
         device const float *bias_1 [[buffer(8)]],
         device const float *bias_2 [[buffer(9)]],
         device const float *norm [[buffer(10)]],
         device half *keys [[buffer(11)]],
         device half *values [[buffer(12)]],
         device const uint *pages [[buffer(13)]],
         device const uint *positions [[buffer(14)]],
         device const uint *slots [[buffer(15)]],
         device const float *frequencies [[buffer(16)]],
         device const float *q_norm [[buffer(17)]],
         device const float *k_norm [[buffer(18)]],
         constant uint &pages_per_sequence [[buffer(19)]],
         device const float *stream [[buffer(20)]],
         device const float *add_norm [[buffer(21)]],
         device float *sum [[buffer(22)]],
         uint2 group [[threadgroup_position_in_grid]],
         uint thread_index [[thread_index_in_threadgroup]],
         uint lane [[thread_index_in_simdgroup]],
         uint simdgroup [[simdgroup_index_in_threadgroup]],
         uint simdgroups [[simdgroups_per_threadgroup]]) {
    constexpr uint TEAM_ROWS = 2 * TEAM_PAIRS;
    threadgroup float4 chunk[BATCH * chunk_quads(BATCH)];
    threadgroup float partial_squares[QKV_SIMDGROUPS * BATCH];
    threadgroup float partial_add_squares[QKV_SIMDGROUPS * BATCH];
    threadgroup float partial_head_squares[QKV_SIMDGROUPS * BATCH];

    // 0: a head of queries, 1: of keys, 2: of values; which of them.
    uint part = group.y < HEADS ? 0 : group.y < HEADS + KV_HEADS ? 1 : 2;
    uint head = part == 0 ? group.y : part == 1 ? group.y - HEADS : group.y - HEADS - KV_HEADS;
    uint first_pair = ((group.x * simdgroups + simdgroup) * TEAMS + lane / TEAM) * TEAM_PAIRS;
    uint team_rows[TEAM_ROWS];
    for (uint p = 0; p < TEAM_PAIRS; p++) {
        uint2 elements = head * HEAD_DIM + rope_elements(min(first_pair + p, HEAD_DIM / 2 - 1));
        team_rows[2 * p] = elements.x;
        team_rows[2 * p + 1] = elements.y;
    }

    Sums<TEAM_ROWS, BATCH> sums = {};
    Inputs inputs = {x, norm, stream, add_norm, sum, rows};
    float input_factors[BATCH] = {};
    if (ADD) {
        add_factors<BATCH>(inputs, thread_index, lane, simdgroup, simdgroups, partial_add_squares, input_factors);
    }
    bool write_sum = group.x == 0 && group.y == 0;
    float squares[BATCH] = {};
    for (uint first = 0; first < INPUTS; first += chunk_inputs(BATCH)) {
        if (first > 0) {
            threadgroup_barrier(mem_flags::mem_threadgroup);
        }
        load_chunk<BATCH>(inputs, input_factors, write_sum, first, thread_index, simdgroups * 32, chunk, squares);
        if (NORM && first + chunk_inputs(BATCH) >= INPUTS) {
            publish_squares<BATCH>(squares, lane, simdgroup, partial_squares);
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (first_pair < HEAD_DIM / 2) {
            if (part == 0) {
                accumulate<A>(Matrix{weights_0, HEADS * HEAD_DIM, INPUTS}, team_rows, first, lane % TEAM, chunk, sums);
            } else if (part == 1) {
                accumulate<B>(Matrix{weights_1, KV_HEADS * HEAD_DIM, INPUTS}, team_rows, first, lane % TEAM, chunk, sums);
            } else {
                accumulate<C>(Matrix{weights_2, KV_HEADS * HEAD_DIM, INPUTS}, team_rows, first, lane % TEAM, chunk, sums);
            }
        }
    }
    add_up(sums);

    // The lanes of a team take turns with its pairs and rows.
    device const float *bias = part == 0 ? bias_0 : part == 1 ? bias_1 : bias_2;
    bool biased = (BIASES >> part & 1) != 0;
    float head_squares[BATCH] = {};
    for (uint m = 0; m < BATCH; m++) {
        float factor = NORM ? norm_factor<BATCH>(partial_squares, simdgroups, m) : 1.0f;
        for (uint p = 0; p < TEAM_PAIRS; p++) {
            for (uint i = 2 * p; i < 2 * p + 2; i++) {
                sums.of[i][m] = factor * sums.of[i][m] + (biased ? bias[team_rows[i]] : 0.0f);
                if ((p * BATCH + m) % TEAM == lane % TEAM && first_pair + p < HEAD_DIM / 2) {
                    head_squares[m] += sums.of[i][m] * sums.of[i][m];
                }
            }
        }
    }
    if (HAS_Q_NORM || HAS_K_NORM) {
        publish_squares<BATCH>(head_squares, lane, simdgroup, partial_head_squares);
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    bool normed = part == 0 ? HAS_Q_NORM : part == 1 && HAS_K_NORM;
    device const float *head_norm = part == 0 ? q_norm : k_norm;
    float epsilon = part == 0 ? Q_NORM_EPS : K_NORM_EPS;
    for (uint m = 0; m < BATCH; m++) {
        for (uint p = 0; p < TEAM_PAIRS; p++) {
            uint pair = first_pair + p;
            if ((p * BATCH + m) % TEAM != lane % TEAM || pair >= HEAD_DIM / 2 || m >= rows) {
                continue;
            }
            uint2 elements = rope_elements(pair);
            float2 value = float2(sums.of[2 * p][m], sums.of[2 * p + 1][m]);
            if (normed) {
                float mean = squares_of<BATCH>(partial_head_squares, simdgroups, m) / float(HEAD_DIM);
                value *= precise::rsqrt(mean + epsilon) * float2(head_norm[elements.x], head_norm[elements.y]);
            }
            if (part < 2 && pair < ROTARY_DIM / 2) {
                value = rope_turn(value, pair, positions[m], frequencies);
            }
            if (part == 0) {
                device float *to = q + (m * HEADS + head) * HEAD_DIM;
                to[elements.x] = value.x;
                to[elements.y] = value.y;
            } else {
                device const uint *table = pages + slots[m] * pages_per_sequence;
                device half *to = (part == 1 ? keys : values) + kv_element(table, head, positions[m]);
                to[elements.x] = to_cache(value.x);
                to[elements.y] = to_cache(value.y);
            }
        }
    }
}
