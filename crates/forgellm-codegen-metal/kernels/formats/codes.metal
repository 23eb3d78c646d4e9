// What the formats share: where a matrix lies, wide loads of codes, and codes as floats.
//
// A format is a struct with
//   PIECE     elements that a lane of the mat-vec takes at a time: 16 bytes of codes where that is at most a group of 32;
//   SPAN      elements of a piece that share a scale;
//   MINIMUM   whether minimum() is not zero: an element is scale * code + minimum;
//   Part<N>   what was loaded for N elements, N being 16 or PIECE;
//   load<N>(matrix, row, first)   loads elements first .. first + N of a row; first is a multiple of N;
//   quad(part, q)                 codes 4q .. 4q + 3 as floats;
//   scale(part, span), minimum(part, span)   for elements SPAN * span and on.
// The planes are declared in src/device/format.rs.

struct Matrix {
    device const uchar *planes;
    uint outputs;
    uint inputs;
};

// Where the plane after one of `bytes` bytes begins, counted from the start of that one.
inline uint next_plane(uint bytes) {
    return (bytes + 255) & ~255u;
}

// Elements of a stored row of floats.
inline uint padded(uint inputs) {
    return (inputs + 31) & ~31u;
}

template <uint COUNT> struct Words {
    uint word[COUNT];
};

// `COUNT` words of a plane, from word COUNT * index on: one load of 4, 8 or 16 bytes, or several of 16.
template <uint COUNT> inline Words<COUNT> load_words(device const uchar *plane, uint index) {
    Words<COUNT> words;
    if (COUNT == 1) {
        words.word[0] = ((device const uint *)plane)[index];
    } else if (COUNT == 2) {
        uint2 pair = ((device const uint2 *)plane)[index];
        words.word[0] = pair.x;
        words.word[COUNT - 1] = pair.y;
    } else {
        for (uint i = 0; i < COUNT / 4; i++) {
            uint4 four = ((device const uint4 *)plane)[index * (COUNT / 4) + i];
            for (uint j = 0; j < 4; j++) {
                words.word[(4 * i + j) % COUNT] = four[j];
            }
        }
    }
    return words;
}

// The codes of quad q in the four bytes of a word: see src/device/format.rs.
template <uint COUNT> inline uint nibbles(thread const Words<COUNT> &codes, uint q) {
    return codes.word[q / 2] >> (4 * (q % 2)) & 0x0f0f0f0f;
}

template <uint COUNT> inline uint pairs(thread const Words<COUNT> &codes, uint q) {
    return codes.word[q / 4] >> (2 * (q % 4)) & 0x03030303;
}

inline uint bits(uint codes, uint q) {
    return codes >> q & 0x01010101;
}

// The four bytes of a word.
inline float4 unsigned_floats(uint bytes) {
    return float4(as_type<uchar4>(bytes));
}

inline float4 signed_floats(uint bytes) {
    return float4(as_type<char4>(bytes));
}

// Tables of the formats whose codes are indices: IQ4_NL and IQ4_XS.
constant float IQ4_VALUES[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// MXFP4: twice the value of each E2M1 code.
constant float E2M1_DOUBLED[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// The entries that the four bytes of a word number.
inline float4 looked_up(constant float *table, uint indices) {
    return float4(table[indices & 15], table[indices >> 8 & 15], table[indices >> 16 & 15], table[indices >> 24]);
}

// Elements first .. first + 16 of a row.
template <typename Format> inline void unpack16(Matrix matrix, uint row, uint first, thread float4 *values) {
    auto part = Format::template load<16>(matrix, row, first);
    for (uint q = 0; q < 4; q++) {
        uint span = 4 * q / Format::SPAN;
        values[q] = Format::scale(part, span) * Format::quad(part, q) + Format::minimum(part, span);
    }
}
