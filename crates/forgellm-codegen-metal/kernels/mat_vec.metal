// Projections of 1 to 8 rows: y = [x W0^T + b0 | x W1^T + b1 | ...], or activation(x W0^T + b0) * (x W1^T + b1), of x or norm(x), plus a
// residual. x may be a sum, stream + norm(x), which is then a result too.
//
// A threadgroup computes S * 4 * TEAM_ROWS outputs (S: its simdgroups) of one part, or of both parts of a gate; projection.metal says how. The
// norm costs no pass of its own: x times the norm's weight is what goes to threadgroup memory, the squares are added up on the way, and
// 1 / sqrt(mean square) is applied to the sums.
//
// Traffic: each byte of the weights is loaded once, for all rows of inputs; every threadgroup reads all of x and of the norm's weight, from the
// cache that they stay in. The host chooses TEAM_ROWS and S so that this is small beside the weights of the threadgroup, but that there are
// threadgroups for all cores.

// Outputs of each part; 0 where there is none.
constant uint OUTPUTS_0 [[function_constant(3)]];
constant uint OUTPUTS_1 [[function_constant(4)]];
constant uint OUTPUTS_2 [[function_constant(5)]];
constant bool RESIDUAL [[function_constant(7)]];
// Whether there are two parts, of which the first goes through the activation and multiplies the second.
constant bool GATED [[function_constant(8)]];
constant uint GATE_ACTIVATION [[function_constant(9)]];

// The most simdgroups of a threadgroup: half as many for more than 2 rows, which take more registers.
constant uint MAT_VEC_SIMDGROUPS = 16;

// Without norm, sum, biases or residual, the host binds anything in their place. `rows` is at most BATCH.
template <typename A, typename B, typename C, uint TEAM_ROWS, uint BATCH>
[[kernel, max_total_threads_per_threadgroup(BATCH > 2 ? 256 : 512)]]
void mat_vec(device const float *x [[buffer(0)]],
             device const float *residual [[buffer(1)]],
             device float *y [[buffer(2)]],
             constant uint &rows [[buffer(3)]],
             device const uchar *weights_0 [[buffer(4)]],
             device const uchar *weights_1 [[buffer(5)]],
             device const uchar *weights_2 [[buffer(6)]],
             device const float *bias_0 [[buffer(7)]],
             device const float *bias_1 [[buffer(8)]],
             device const float *bias_2 [[buffer(9)]],
             device const float *norm [[buffer(10)]],
             device const float *stream [[buffer(11)]],
             device const float *add_norm [[buffer(12)]],
             device float *sum [[buffer(13)]],
             uint group [[threadgroup_position_in_grid]],
             uint thread_index [[thread_index_in_threadgroup]],
             uint lane [[thread_index_in_simdgroup]],
             uint simdgroup [[simdgroup_index_in_threadgroup]],
             uint simdgroups [[simdgroups_per_threadgroup]]) {
    threadgroup float4 chunk[BATCH * chunk_quads(BATCH)];
    threadgroup float partial_squares[MAT_VEC_SIMDGROUPS * BATCH];
    threadgroup float partial_add_squares[MAT_VEC_SIMDGROUPS * BATCH];

    // Which part, its first output in this threadgroup, its height, and the column of y where the part begins.
    uint tile = simdgroups * TEAMS * TEAM_ROWS;
    uint part = 0;
    uint output = group * tile;
    uint height = OUTPUTS_0;
    uint first_column = 0;
    if (!GATED) {
        uint next_height = OUTPUTS_1;
        while (output >= height) {
            output -= (height + tile - 1) / tile * tile;
            first_column += height;
            height = next_height;
            next_height = OUTPUTS_2;
            part += 1;
        }
    }
    output += (simdgroup * TEAMS + lane / TEAM) * TEAM_ROWS;
    uint team_rows[TEAM_ROWS];
    for (uint r = 0; r < TEAM_ROWS; r++) {
        team_rows[r] = min(output + r, height - 1);
    }

    Sums<TEAM_ROWS, BATCH> sums = {};
    Sums<TEAM_ROWS, BATCH> factors = {};
    Inputs inputs = {x, norm, stream, add_norm, sum, rows};
    float input_factors[BATCH] = {};
    if (ADD) {
        add_factors<BATCH>(inputs, thread_index, lane, simdgroup, simdgroups, partial_add_squares, input_factors);
    }
    float squares[BATCH] = {};
    for (uint first = 0; first < INPUTS; first += chunk_inputs(BATCH)) {
        if (first > 0) {
            threadgroup_barrier(mem_flags::mem_threadgroup);
        }
        load_chunk<BATCH>(inputs, input_factors, group == 0, first, thread_index, simdgroups * 32, chunk, squares);
        if (NORM && first + chunk_inputs(BATCH) >= INPUTS) {
            publish_squares<BATCH>(squares, lane, simdgroup, partial_squares);
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (output < height) {
            if (part == 0) {
                accumulate<A>(Matrix{weights_0, OUTPUTS_0, INPUTS}, team_rows, first, lane % TEAM, chunk, sums);
            }
            if (GATED) {
                accumulate<B>(Matrix{weights_1, OUTPUTS_1, INPUTS}, team_rows, first, lane % TEAM, chunk, factors);
            } else if (OUTPUTS_1 > 0 && part == 1) {
                accumulate<B>(Matrix{weights_1, OUTPUTS_1, INPUTS}, team_rows, first, lane % TEAM, chunk, sums);
            } else if (OUTPUTS_2 > 0 && part == 2) {
                accumulate<C>(Matrix{weights_2, OUTPUTS_2, INPUTS}, team_rows, first, lane % TEAM, chunk, sums);
            }
        }
    }
    add_up(sums);
    if (GATED) {
        add_up(factors);
    }

    device const float *bias = part == 0 ? bias_0 : part == 1 ? bias_1 : bias_2;
    bool biased = (BIASES >> part & 1) != 0;
    uint row_width = GATED ? OUTPUTS_0 : OUTPUTS_0 + OUTPUTS_1 + OUTPUTS_2;
    for (uint r = 0; r < TEAM_ROWS; r++) {
        for (uint m = 0; m < BATCH; m++) {
            // The lanes of a team take turns in writing its results.
            if ((r * BATCH + m) % TEAM != lane % TEAM || output + r >= height || m >= rows) {
                continue;
            }
            float factor = NORM ? norm_factor<BATCH>(partial_squares, simdgroups, m) : 1.0f;
            float result = factor * sums.of[r][m] + (biased ? bias[output + r] : 0.0f);
            if (GATED) {
                float other = factor * factors.of[r][m] + ((BIASES & 2) != 0 ? bias_1[output + r] : 0.0f);
                result = activate(GATE_ACTIVATION, result) * other;
            }
            uint place = m * row_width + first_column + output + r;
            y[place] = RESIDUAL ? residual[place] + result : result;
        }
    }
}
