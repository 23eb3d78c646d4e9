// scale * IQ4_VALUES[code]

struct IQ4_NL {
    static constant constexpr const uint PIECE = 32;
    static constant constexpr const uint SPAN = PIECE;
    static constant constexpr const bool MINIMUM = false;

    template <uint N> struct Part {
        Words<N / 8> codes;
        float scale;
    };

    template <uint N> static Part<N> load(Matrix matrix, uint row, uint first) {
        uint index = row * matrix.inputs + first;
        uint all = matrix.outputs * matrix.inputs;
        device const half *scales = (device const half *)(matrix.planes + next_plane(all / 2));
        return {load_words<N / 8>(matrix.planes, index / N), scales[index / 32]};
    }

    template <uint N> static float4 quad(thread const Part<N> &part, uint q) {
        return looked_up(IQ4_VALUES, nibbles(part.codes, q));
    }

    template <uint N> static float scale(thread const Part<N> &part, uint) {
        return part.scale;
    }

    template <uint N> static float minimum(thread const Part<N> &, uint) {
        return 0.0f;
    }
};
