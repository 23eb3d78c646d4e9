// d * scale * (code - 4)

struct Q3_K {
    static constant constexpr const uint PIECE = 32;
    static constant constexpr const uint SPAN = 16;
    static constant constexpr const bool MINIMUM = true;

    template <uint N> struct Part {
        Words<N / 16> low;
        uint high;
        float scale[N / 16];
    };

    template <uint N> static Part<N> load(Matrix matrix, uint row, uint first) {
        uint index = row * matrix.inputs + first;
        uint all = matrix.outputs * matrix.inputs;
        device const uchar *high = matrix.planes + next_plane(all / 4);
        device const char *scales = (device const char *)(high + next_plane(all / 8));
        float d = ((device const half *)(scales + next_plane(all / 16)))[index / 256];
        Part<N> part;
        part.low = load_words<N / 16>(matrix.planes, index / N);
        part.high = ((device const uint *)high)[index / 32] >> (first % 32 / 4);
        for (uint span = 0; span < N / 16; span++) {
            part.scale[span] = d * float(scales[index / 16 + span]);
        }
        return part;
    }

    template <uint N> static float4 quad(thread const Part<N> &part, uint q) {
        return unsigned_floats(pairs(part.low, q) | bits(part.high, q) << 2);
    }

    template <uint N> static float scale(thread const Part<N> &part, uint span) {
        return part.scale[span];
    }

    template <uint N> static float minimum(thread const Part<N> &part, uint span) {
        return -4.0f * part.scale[span];
    }
};
