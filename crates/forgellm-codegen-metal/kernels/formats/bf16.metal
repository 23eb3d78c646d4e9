// The upper half of an f32. Needs no bfloat type, so every GPU family has it.

struct BF16 {
    static constant constexpr const uint PIECE = 8;
    static constant constexpr const uint SPAN = PIECE;
    static constant constexpr const bool MINIMUM = false;

    template <uint N> struct Part {
        Words<N / 2> values;
    };

    template <uint N> static Part<N> load(Matrix matrix, uint row, uint first) {
        return {load_words<N / 2>(matrix.planes, (row * padded(matrix.inputs) + first) / N)};
    }

    template <uint N> static float4 quad(thread const Part<N> &part, uint q) {
        uint2 pairs = uint2(part.values.word[2 * q], part.values.word[2 * q + 1]);
        return as_type<float4>(uint4(pairs.x << 16, pairs.x & 0xffff0000, pairs.y << 16, pairs.y & 0xffff0000));
    }

    template <uint N> static float scale(thread const Part<N> &, uint) {
        return 1.0f;
    }

    template <uint N> static float minimum(thread const Part<N> &, uint) {
        return 0.0f;
    }
};
