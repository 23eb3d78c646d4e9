// 2^(exponent - 128) * E2M1_DOUBLED[code]

struct MXFP4 {
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
        uint exponent = (matrix.planes + next_plane(all / 2))[index / 32];
        // The exponents 0 and 1 mean numbers below the normal ones of f32, which GPUs take as 0.
        float scale = as_type<float>((max(exponent, 1u) - 1) << 23);
        return {load_words<N / 8>(matrix.planes, index / N), scale};
    }

    template <uint N> static float4 quad(thread const Part<N> &part, uint q) {
        return looked_up(E2M1_DOUBLED, nibbles(part.codes, q));
    }

    template <uint N> static float scale(thread const Part<N> &part, uint) {
        return part.scale;
    }

    template <uint N> static float minimum(thread const Part<N> &, uint) {
        return 0.0f;
    }
};
