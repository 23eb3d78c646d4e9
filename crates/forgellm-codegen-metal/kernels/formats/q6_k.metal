// d * scale * (code - 32)

struct Q6_K {
    static constant constexpr const uint PIECE = 32;
    static constant constexpr const uint SPAN = 16;
    static constant constexpr const bool MINIMUM = true;

    template <uint N> struct Part {
        Words<N / 8> low;
        Words<N / 16> high;
        float scale[N / 16];
    };

    template <uint N> static Part<N> load(Matrix matrix, uint row, uint first) {
        uint index = row * matrix.inputs + first;
        uint all = matrix.outputs * matrix.inputs;
        device const uchar *high = matrix.planes + next_plane(all / 2);
        device const char *scales = (device const char *)(high + next_plane(all / 4));
        float d = ((device const half *)(scales + next_plane(all / 16)))[index / 256];
        Part<N> part;
        part.low = load_words<N / 8>(matrix.planes, index / N);
        part.high = load_words<N / 16>(high, index / N);
        for (uint span = 0; span < N / 16; span++) {
            part.scale[span] = d * float(scales[index / 16 + span]);
        }
        return part;
    }

    template <uint N> static float4 quad(thread const Part<N> &part, uint q) {
        return unsigned_floats(nibbles(part.low, q) | pairs(part.high, q) << 4);
    }

    template <uint N> static float scale(thread const Part<N> &part, uint span) {
        return part.scale[span];
    }

    template <uint N> static float minimum(thread const Part<N> &part, uint span) {
        return -32.0f * part.scale[span];
    }
};
