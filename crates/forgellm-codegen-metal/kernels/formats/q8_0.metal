// scale * code

struct Q8_0 {
    static constant constexpr const uint PIECE = 16;
    static constant constexpr const uint SPAN = PIECE;
    static constant constexpr const bool MINIMUM = false;

    template <uint N> struct Part {
        Words<N / 4> codes;
        float scale;
    };

    template <uint N> static Part<N> load(Matrix matrix, uint row, uint first) {
        uint index = row * matrix.inputs + first;
        uint all = matrix.outputs * matrix.inputs;
        device const half *scales = (device const half *)(matrix.planes + next_plane(all));
        return {load_words<N / 4>(matrix.planes, index / N), scales[index / 32]};
    }

    template <uint N> static float4 quad(thread const Part<N> &part, uint q) {
        return signed_floats(part.codes.word[q]);
    }

    template <uint N> static float scale(thread const Part<N> &part, uint) {
        return part.scale;
    }

    template <uint N> static float minimum(thread const Part<N> &, uint) {
        return 0.0f;
    }
};
