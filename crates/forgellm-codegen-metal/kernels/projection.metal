// What projections of few rows share: inputs in threadgroup memory, and sums of weights times inputs.
//
// A team of 8 lanes computes TEAM_ROWS rows of a matrix, for BATCH rows of inputs at once. In a step, each lane takes a piece of a weight row,
// 16 bytes of codes for most formats, so a team reads 128 consecutive bytes of a row and a simdgroup has 4 * TEAM_ROWS such reads under way. A
// piece is unpacked once for all rows of inputs; inputs are read from threadgroup memory once for all TEAM_ROWS.

constant uint INPUTS [[function_constant(0)]];
// Whether inputs pass a root-mean-square norm.
constant bool NORM [[function_constant(1)]];
constant float NORM_EPSILON [[function_constant(2)]];
// Whether the inputs are a sum: of the residual stream and the norm of what a layer adds to it.
constant bool ADD [[function_constant(10)]];
constant float ADD_EPSILON [[function_constant(11)]];
// Bit p: part p has a bias.
constant uint BIASES [[function_constant(6)]];

constant uint TEAM = 8;
constant uint TEAMS = 32 / TEAM;

// Inputs are kept in chunks of so many per row. More take threadgroup memory from other threadgroups of the core, fewer cost barriers.
constexpr uint chunk_inputs(uint batch) {
    return batch == 1 ? 2048 : batch == 8 ? 512 : 1024;
}

// Inputs lie in groups of 8 float4 with one float4 between them: so the 8 lanes of a team, a group (or half a group, ...) apart, read from
// different banks.
inline uint chunk_place(uint quad) {
    return quad + quad / 8;
}

// The float4 that a chunk takes per row.
constexpr uint chunk_quads(uint batch) {
    return chunk_inputs(batch) / 32 * 9;
}

template <uint TEAM_ROWS, uint BATCH> struct Sums {
    float of[TEAM_ROWS][BATCH];
};

// Inputs input .. input + 4 of a row; zeros behind the last.
inline float4 load_inputs(device const float *row, uint input) {
    float4 values = float4(0.0f);
    if (INPUTS % 4 == 0) {
        if (input < INPUTS) {
            values = *(device const float4 *)(row + input);
        }
    } else {
        for (uint i = 0; i < 4 && input + i < INPUTS; i++) {
            values[i] = row[input + i];
        }
    }
    return values;
}

// What is projected.
struct Inputs {
    device const float *x;        // [rows, INPUTS]
    device const float *norm;     // [INPUTS], with NORM
    device const float *stream;   // [rows, INPUTS], with ADD
    device const float *add_norm; // [INPUTS], with ADD
    device float *sum;            // [rows, INPUTS], with ADD: one threadgroup writes it, all compute it
    uint rows;
};

// Adds up the squares of all threads: `partial` [simdgroups][BATCH] gets one sum per simdgroup. A barrier must follow.
template <uint BATCH>
inline void publish_squares(thread const float *squares, uint lane, uint simdgroup, threadgroup float *partial) {
    for (uint m = 0; m < BATCH; m++) {
        float sum = simd_sum(squares[m]);
        if (lane == 0) {
            partial[simdgroup * BATCH + m] = sum;
        }
    }
}

// The squares of row m, of all simdgroups.
template <uint BATCH> inline float squares_of(threadgroup const float *partial, uint simdgroups, uint m) {
    float sum = 0.0f;
    for (uint i = 0; i < simdgroups; i++) {
        sum += partial[i * BATCH + m];
    }
    return sum;
}

// 1 / sqrt(mean square + epsilon) of row m of the inputs.
template <uint BATCH> inline float norm_factor(threadgroup const float *partial, uint simdgroups, uint m) {
    return precise::rsqrt(squares_of<BATCH>(partial, simdgroups, m) / float(INPUTS) + NORM_EPSILON);
}

// With ADD, the factors 1 / sqrt(mean square + epsilon) of the rows of x. `partial` [simdgroups][BATCH] stays in use until the next barrier.
template <uint BATCH>
inline void add_factors(Inputs inputs, uint thread_index, uint lane, uint simdgroup, uint simdgroups, threadgroup float *partial,
                        thread float *factors) {
    float squares[BATCH] = {};
    for (uint quad = thread_index; quad < padded(INPUTS) / 4; quad += simdgroups * 32) {
        for (uint m = 0; m < BATCH; m++) {
            float4 values = load_inputs(inputs.x + min(m, inputs.rows - 1) * INPUTS, 4 * quad);
            squares[m] += dot(values, values);
        }
    }
    publish_squares<BATCH>(squares, lane, simdgroup, partial);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint m = 0; m < BATCH; m++) {
        factors[m] = precise::rsqrt(squares_of<BATCH>(partial, simdgroups, m) / float(INPUTS) + ADD_EPSILON);
    }
}

// Inputs input .. input + 4 of row m, with ADD the sum, which goes to memory if `write_sum`.
inline float4 sum_of(Inputs inputs, uint m, uint input, float factor, bool write_sum) {
    uint row = min(m, inputs.rows - 1) * INPUTS;
    float4 values = load_inputs(inputs.x + row, input);
    if (!ADD) {
        return values;
    }
    values = load_inputs(inputs.stream + row, input) + factor * values * load_inputs(inputs.add_norm, input);
    if (write_sum && m < inputs.rows) {
        if (INPUTS % 4 == 0) {
            if (input < INPUTS) {
                *(device float4 *)(inputs.sum + row + input) = values;
            }
        } else {
            for (uint i = 0; i < 4 && input + i < INPUTS; i++) {
                inputs.sum[row + input + i] = values[i];
            }
        }
    }
    return values;
}

// Copies inputs first .. first + chunk_inputs of each row, times the norm's weight, with zeros behind the last, and adds up the squares of
// what this thread copies. Rows beyond the last repeat it.
template <uint BATCH>
inline void load_chunk(Inputs inputs, thread const float *factors, bool write_sum, uint first, uint thread_index, uint threads,
                       threadgroup float4 *chunk, thread float *squares) {
    uint count = min(chunk_inputs(BATCH), padded(INPUTS) - first);
    for (uint quad = thread_index; quad < count / 4; quad += threads) {
        uint input = first + 4 * quad;
        float4 weight = NORM ? load_inputs(inputs.norm, input) : float4(1.0f);
        for (uint m = 0; m < BATCH; m++) {
            float4 values = sum_of(inputs, m, input, factors[m], write_sum);
            if (NORM) {
                squares[m] += dot(values, values);
                values *= weight;
            }
            chunk[m * chunk_quads(BATCH) + chunk_place(quad)] = values;
        }
    }
}

// Adds the products of a piece of each row with the one row of inputs, `x` from its first on. Scales and minima are applied to the sums of a span: an
// element costs its multiply-add, and an addition for the minima that all rows share.
template <typename Format, uint TEAM_ROWS, uint BATCH>
inline void accumulate_spans(thread const typename Format::template Part<Format::PIECE> *parts, threadgroup const float4 *x,
                             thread Sums<TEAM_ROWS, BATCH> &sums) {
    #pragma unroll
    for (uint span = 0; span < Format::PIECE / Format::SPAN; span++) {
        float products[TEAM_ROWS] = {};
        float total = 0.0f;
        #pragma unroll
        for (uint q = span * Format::SPAN / 4; q < (span + 1) * Format::SPAN / 4; q++) {
            float4 inputs = x[q];
            if (Format::MINIMUM) {
                total += inputs.x + inputs.y + inputs.z + inputs.w;
            }
            #pragma unroll
            for (uint r = 0; r < TEAM_ROWS; r++) {
                products[r] += dot(Format::quad(parts[r], q), inputs);
            }
        }
        #pragma unroll
        for (uint r = 0; r < TEAM_ROWS; r++) {
            sums.of[r][0] += Format::scale(parts[r], span) * products[r];
            if (Format::MINIMUM) {
                sums.of[r][0] += Format::minimum(parts[r], span) * total;
            }
        }
    }
}

// The same with several rows of inputs: the elements are unpacked for all of them.
template <typename Format, uint TEAM_ROWS, uint BATCH>
inline void accumulate_elements(thread const typename Format::template Part<Format::PIECE> *parts, threadgroup const float4 *x,
                             thread Sums<TEAM_ROWS, BATCH> &sums) {
    #pragma unroll
    for (uint q = 0; q < Format::PIECE / 4; q++) {
        uint span = 4 * q / Format::SPAN;
        float4 elements[TEAM_ROWS];
        #pragma unroll
        for (uint r = 0; r < TEAM_ROWS; r++) {
            elements[r] = Format::scale(parts[r], span) * Format::quad(parts[r], q) + Format::minimum(parts[r], span);
        }
        #pragma unroll
        for (uint m = 0; m < BATCH; m++) {
            float4 inputs = x[m * chunk_quads(BATCH) + q];
            #pragma unroll
            for (uint r = 0; r < TEAM_ROWS; r++) {
                sums.of[r][m] += dot(elements[r], inputs);
            }
        }
    }
}

// Adds the products of a chunk, inputs first and on, and of the rows of a matrix. `lane` counts within the team.
template <typename Format, uint TEAM_ROWS, uint BATCH>
inline void accumulate(Matrix matrix, thread const uint *rows, uint first, uint lane, threadgroup const float4 *chunk,
                       thread Sums<TEAM_ROWS, BATCH> &sums) {
    constexpr uint PIECE = Format::PIECE;
    uint pieces = min(chunk_inputs(BATCH), padded(INPUTS) - first) / PIECE;
    for (uint piece = lane; piece < pieces; piece += TEAM) {
        typename Format::template Part<PIECE> parts[TEAM_ROWS];
        #pragma unroll
        for (uint r = 0; r < TEAM_ROWS; r++) {
            parts[r] = Format::template load<PIECE>(matrix, rows[r], first + piece * PIECE);
        }
        threadgroup const float4 *x = chunk + chunk_place(piece * PIECE / 4);
        if (BATCH == 1) {
            accumulate_spans<Format>(parts, x, sums);
        } else {
            accumulate_elements<Format>(parts, x, sums);
        }
    }
}

// Gives every lane the sum over its team.
template <uint TEAM_ROWS, uint BATCH> inline void add_up(thread Sums<TEAM_ROWS, BATCH> &sums) {
    for (uint r = 0; r < TEAM_ROWS; r++) {
        for (uint m = 0; m < BATCH; m++) {
            for (uint distance = TEAM / 2; distance > 0; distance /= 2) {
                sums.of[r][m] += simd_shuffle_xor(sums.of[r][m], ushort(distance));
            }
        }
    }
}
