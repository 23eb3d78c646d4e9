// d * scale * code - dmin * minimum

struct Q2_K {
    static constant constexpr const uint PIECE = 32;
    static constant constexpr const uint SPAN = 16;
    static constant constexpr const bool MINIMUM = true;

    template <uint N> struct Part {
        Words<N / 16> codes;
        float scale[N / 16];
        float minimum[N / 16];
    };

    template <uint N> static Part<N> load(Matrix matrix, uint row, uint first) {
        uint index = row * matrix.inputs + first;
        uint all = matrix.outputs * matrix.inputs;
        device const uchar *scales = matrix.planes + next_plane(all / 4);
        float2 d = float2(((device const half2 *)(scales + next_plane(all / 16)))[index / 256]);
        Part<N> part;
        part.codes = load_words<N / 16>(matrix.planes, index / N);
        for (uint span = 0; span < N / 16; span++) {
            uint packed = scales[index / 16 + span];
            part.scale[span] = d.x * float(packed & 15);
            part.minimum[span] = -d.y * float(packed >> 4);
        }
        return part;
    }

    template <uint N> static float4 quad(thread const Part<N> &part, uint q) {
        return unsigned_floats(pairs(part.codes, q));
    }

    template <uint N> static float scale(thread const Part<N> &part, uint span) {
        return part.scale[span];
    }

    template <uint N> static float minimum(thread const Part<N> &part, uint span) {
        return part.minimum[span];
    }
};
