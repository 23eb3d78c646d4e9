// Projections of many rows: y = [x W0^T + b0 | x W1^T + b1 | ...], or activation(x W0^T + b0) * (x W1^T + b1), plus the residual.
//
// A threadgroup of 4 simdgroups computes a tile of TILE_ROWS rows by 64 columns. It goes through the inputs by groups of 32: every thread
// unpacks half a group of one of the 64 weight rows, so weights are unpacked once per tile, and the simdgroups multiply what lies in
// threadgroup memory as matrices of 8 by 8, with sums in f32. With a gate, 32 of the columns are the first part's and 32 the second's.
//
// Inputs stay f32: the product of a gate and its values may pass what f16 holds. Weights are f16 in the tile unless their type has a wider
// range.

constant uint GEMM_INPUTS [[function_constant(74)]];
// Outputs of each part; 0 where there is none.
constant uint GEMM_OUTPUTS_0 [[function_constant(75)]];
constant uint GEMM_OUTPUTS_1 [[function_constant(76)]];
constant uint GEMM_OUTPUTS_2 [[function_constant(77)]];
// Bit p: part p has a bias.
constant uint GEMM_BIASES [[function_constant(78)]];
constant bool GEMM_RESIDUAL [[function_constant(79)]];
// Whether there are two parts, of which the first goes through the activation and multiplies the second.
constant bool GEMM_GATED [[function_constant(80)]];
constant uint GEMM_ACTIVATION [[function_constant(81)]];

constant uint TILE_COLUMNS = 64;
constant uint TILE_INPUTS = 32;
constant uint TILE_THREADS = 128;

struct F32;
struct BF16;

// The type of a weight in a tile.
template <typename Format> struct WeightInTile { using type = half; };
template <> struct WeightInTile<F32> { using type = float; };
template <> struct WeightInTile<BF16> { using type = float; };

template <typename A, typename B> struct Wider { using type = half; };
template <typename B> struct Wider<float, B> { using type = float; };
template <typename A> struct Wider<A, float> { using type = float; };
template <> struct Wider<float, float> { using type = float; };

// Where element (row, input) of a tile lies: matrices of 8 by 8, each in one piece, so that a simdgroup loads 64 elements in a row.
inline uint place_in_tile(uint row, uint input) {
    return ((row / 8) * (TILE_INPUTS / 8) + input / 8) * 64 + (row % 8) * 8 + input % 8;
}

// Weights first .. first + 16 of a row; zeros if the part has no such row.
template <typename Format>
inline void read_weights(device const uchar *planes, uint outputs, uint row, uint first, thread float4 *values) {
    if (row < outputs) {
        unpack16<Format>(Matrix{planes, outputs, GEMM_INPUTS}, row, first, values);
    } else {
        for (uint i = 0; i < 4; i++) {
            values[i] = float4(0.0f);
        }
    }
}

// Inputs first_input .. + 4 of a row; zeros where there are none.
inline float4 read_inputs(device const float *x, uint row, uint rows, uint first_input) {
    float4 values = float4(0.0f);
    if (row < rows) {
        x += (ulong)row * GEMM_INPUTS;
        if (GEMM_INPUTS % 4 == 0) {
            if (first_input < GEMM_INPUTS) {
                values = *(device const float4 *)(x + first_input);
            }
        } else {
            for (uint i = 0; i < 4 && first_input + i < GEMM_INPUTS; i++) {
                values[i] = x[first_input + i];
            }
        }
    }
    return values;
}

// Without biases or a residual, the host binds anything in their place. Threadgroups: (row tiles, column tiles of all parts): neighbours
// read the same weights.
template <typename A, typename B, typename C, uint TILE_ROWS>
kernel void gemm(device const float *x [[buffer(0)]],
                 device const float *residual [[buffer(1)]],
                 device float *y [[buffer(2)]],
                 constant uint &rows [[buffer(3)]],
                 device const uchar *weights_0 [[buffer(4)]],
                 device const uchar *weights_1 [[buffer(5)]],
                 device const uchar *weights_2 [[buffer(6)]],
                 device const float *bias_0 [[buffer(7)]],
                 device const float *bias_1 [[buffer(8)]],
                 device const float *bias_2 [[buffer(9)]],
                 uint2 group [[threadgroup_position_in_grid]],
                 uint thread_index [[thread_index_in_threadgroup]],
                 uint simdgroup [[simdgroup_index_in_threadgroup]]) {
    using Weight = typename Wider<typename Wider<typename WeightInTile<A>::type, typename WeightInTile<B>::type>::type,
                                  typename WeightInTile<C>::type>::type;
    constexpr uint INPUT_FLOATS = TILE_ROWS * TILE_INPUTS;
    constexpr uint WEIGHT_FLOATS = TILE_COLUMNS * TILE_INPUTS * sizeof(Weight) / sizeof(float);
    constexpr uint SUM_FLOATS = TILE_ROWS * TILE_COLUMNS;
    // Both tiles while the inputs pass, then the sums.
    threadgroup float memory[INPUT_FLOATS + WEIGHT_FLOATS > SUM_FLOATS ? INPUT_FLOATS + WEIGHT_FLOATS : SUM_FLOATS];
    threadgroup float *input_tile = memory;
    threadgroup Weight *weight_tile = (threadgroup Weight *)(memory + INPUT_FLOATS);

    // Which part, and its first output in this tile.
    uint part = 0;
    uint first_output = group.y * (GEMM_GATED ? TILE_COLUMNS / 2 : TILE_COLUMNS);
    uint outputs = GEMM_OUTPUTS_0;
    uint first_column = 0;
    if (!GEMM_GATED) {
        uint next = GEMM_OUTPUTS_1;
        while (first_output >= outputs) {
            first_output -= (outputs + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS;
            first_column += outputs;
            outputs = next;
            next = GEMM_OUTPUTS_2;
            part += 1;
        }
    }
    uint first_row = group.x * TILE_ROWS;

    // The weights that this thread unpacks.
    uint tile_row = thread_index / 2;
    uint weight_column = thread_index % 2 * 16;
    uint weight_part = GEMM_GATED ? tile_row / (TILE_COLUMNS / 2) : part;
    uint weight_row = first_output + (GEMM_GATED ? tile_row % (TILE_COLUMNS / 2) : tile_row);

    // The inputs that it copies: 4 of every QUAD_ROWS-th row.
    constexpr uint QUAD_ROWS = TILE_THREADS / (TILE_INPUTS / 4);
    constexpr uint INPUT_QUADS = TILE_ROWS / QUAD_ROWS;
    uint input_row = thread_index / (TILE_INPUTS / 4);
    uint input_column = thread_index % (TILE_INPUTS / 4) * 4;

    // The sums of a simdgroup: ROW_MATRICES by COLUMN_MATRICES of the tile's matrices.
    constexpr uint SIMDGROUPS_ACROSS = TILE_ROWS == 16 ? 4 : 2;
    constexpr uint ROW_MATRICES = TILE_ROWS / 8 * SIMDGROUPS_ACROSS / 4;
    constexpr uint COLUMN_MATRICES = TILE_COLUMNS / 8 / SIMDGROUPS_ACROSS;
    uint row_matrix = simdgroup / SIMDGROUPS_ACROSS * ROW_MATRICES;
    uint column_matrix = simdgroup % SIMDGROUPS_ACROSS * COLUMN_MATRICES;
    simdgroup_float8x8 sums[ROW_MATRICES][COLUMN_MATRICES];
    for (uint i = 0; i < ROW_MATRICES; i++) {
        for (uint j = 0; j < COLUMN_MATRICES; j++) {
            sums[i][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
        }
    }

    for (uint input = 0; input < GEMM_INPUTS; input += TILE_INPUTS) {
        // Device memory is read before the barrier, while other simdgroups may still multiply.
        float4 weight_values[4];
        if (weight_part == 0) {
            read_weights<A>(weights_0, GEMM_OUTPUTS_0, weight_row, input + weight_column, weight_values);
        } else if (weight_part == 1) {
            read_weights<B>(weights_1, GEMM_OUTPUTS_1, weight_row, input + weight_column, weight_values);
        } else {
            read_weights<C>(weights_2, GEMM_OUTPUTS_2, weight_row, input + weight_column, weight_values);
        }
        float4 input_values[INPUT_QUADS];
        for (uint i = 0; i < INPUT_QUADS; i++) {
            input_values[i] = read_inputs(x, first_row + input_row + i * QUAD_ROWS, rows, input + input_column);
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (uint i = 0; i < 4; i++) {
            threadgroup Weight *place = weight_tile + place_in_tile(tile_row, weight_column + 4 * i);
            *(threadgroup vec<Weight, 4> *)place = vec<Weight, 4>(weight_values[i]);
        }
        for (uint i = 0; i < INPUT_QUADS; i++) {
            threadgroup float *place = input_tile + place_in_tile(input_row + i * QUAD_ROWS, input_column);
            *(threadgroup float4 *)place = input_values[i];
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);

        for (uint k = 0; k < TILE_INPUTS / 8; k++) {
            simdgroup_float8x8 inputs[ROW_MATRICES];
            for (uint i = 0; i < ROW_MATRICES; i++) {
                simdgroup_load(inputs[i], input_tile + place_in_tile(8 * (row_matrix + i), 8 * k), 8);
            }
            for (uint j = 0; j < COLUMN_MATRICES; j++) {
                simdgroup_matrix<Weight, 8, 8> weights;
                simdgroup_load(weights, weight_tile + place_in_tile(8 * (column_matrix + j), 8 * k), 8, ulong2(0), true);
                for (uint i = 0; i < ROW_MATRICES; i++) {
                    simdgroup_multiply_accumulate(sums[i][j], inputs[i], weights, sums[i][j]);
                }
            }
        }
    }

    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint i = 0; i < ROW_MATRICES; i++) {
        for (uint j = 0; j < COLUMN_MATRICES; j++) {
            threadgroup float *place = memory + 8 * (row_matrix + i) * TILE_COLUMNS + 8 * (column_matrix + j);
            simdgroup_store(sums[i][j], place, TILE_COLUMNS);
        }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);

    device const float *bias = part == 0 ? bias_0 : part == 1 ? bias_1 : bias_2;
    bool biased = (GEMM_BIASES >> part & 1) != 0;
    constexpr uint HALF_TILE = TILE_COLUMNS / 2;
    uint width = GEMM_GATED ? HALF_TILE : TILE_COLUMNS;
    uint row_width = GEMM_GATED ? GEMM_OUTPUTS_0 : GEMM_OUTPUTS_0 + GEMM_OUTPUTS_1 + GEMM_OUTPUTS_2;
    for (uint i = thread_index; i < TILE_ROWS * width; i += TILE_THREADS) {
        uint row = i / width;
        uint output = first_output + i % width;
        if (first_row + row >= rows || output >= outputs) {
            continue;
        }
        float value = memory[row * TILE_COLUMNS + i % width] + (biased ? bias[output] : 0.0f);
        if (GEMM_GATED) {
            float factor = memory[row * TILE_COLUMNS + HALF_TILE + i % width];
            factor += (GEMM_BIASES & 2) != 0 ? bias_1[output] : 0.0f;
            value = activate(GEMM_ACTIVATION, value) * factor;
        }
        ulong place = (ulong)(first_row + row) * row_width + first_column + output;
        y[place] = GEMM_RESIDUAL ? residual[place] + value : value;
    }
}
