// Single precision.

struct F32 {
    static constant constexpr const uint PIECE = 4;
    static constant constexpr const uint SPAN = PIECE;
    static constant constexpr const bool MINIMUM = false;

    template <uint N> struct Part {
        Words<N> values;
    };

    template <uint N> static Part<N> load(Matrix matrix, uint row, uint first) {
        return {load_words<N>(matrix.planes, (row * padded(matrix.inputs) + first) / N)};
    }

    template <uint N> static float4 quad(thread const Part<N> &part, uint q) {
        thread const uint *values = part.values.word + 4 * q;
        return as_type<float4>(uint4(values[0], values[1], values[2], values[3]));
    }

    template <uint N> static float scale(thread const Part<N> &, uint) {
        return 1.0f;
    }

    template <uint N> static float minimum(thread const Part<N> &, uint) {
        return 0.0f;
    }
};
