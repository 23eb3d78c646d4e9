// The rows of a table for the tokens of a step, times a factor. A thread unpacks 16 elements: each byte of a row is loaded once.

constant uint EMBED_VOCAB [[function_constant(20)]];
constant uint EMBED_WIDTH [[function_constant(21)]];
constant float EMBED_SCALE [[function_constant(22)]];

// Set in a token that stands for the result of an earlier step.
constant uint EARLIER_RESULT = 0x80000000;

// The token of a row. With the top bit set it is a number in `results`, of which `result_words.x` lie `result_words.y` words apart, each
// beginning with a token; one that is not there is no token.
inline uint resolve_token(uint token, device const uint *results, uint2 result_words) {
    if ((token & EARLIER_RESULT) == 0) {
        return token;
    }
    uint number = token & ~EARLIER_RESULT;
    return number < result_words.x ? results[number * result_words.y] : ~0u;
}

// y [rows, EMBED_WIDTH]. Rows of what is no token are zeros. Threads: (EMBED_WIDTH / 16 rounded up, rows).
template <typename Format>
kernel void embed(device const uchar *table [[buffer(0)]],
                  device float *y [[buffer(1)]],
                  device const uint *tokens [[buffer(2)]],
                  device const uint *results [[buffer(3)]],
                  constant uint2 &result_words [[buffer(4)]],
                  uint2 position [[thread_position_in_grid]]) {
    uint first = 16 * position.x;
    if (first >= EMBED_WIDTH) {
        return;
    }
    uint token = resolve_token(tokens[position.y], results, result_words);
    float4 values[4] = {};
    if (token < EMBED_VOCAB) {
        unpack16<Format>(Matrix{table, EMBED_VOCAB, EMBED_WIDTH}, token, first, values);
    }
    device float *to = y + (ulong)position.y * EMBED_WIDTH + first;
    for (uint q = 0; q < 4; q++) {
        if (EMBED_WIDTH % 4 == 0) {
            if (first + 4 * q < EMBED_WIDTH) {
                ((device float4 *)to)[q] = EMBED_SCALE * values[q];
            }
        } else {
            for (uint i = 0; i < 4 && first + 4 * q + i < EMBED_WIDTH; i++) {
                to[4 * q + i] = EMBED_SCALE * values[q][i];
            }
        }
    }
}
