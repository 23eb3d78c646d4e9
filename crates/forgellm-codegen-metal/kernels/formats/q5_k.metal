// d * scale * code - dmin * minimum

struct Q5_K {
    static constant constexpr const uint PIECE = 32;
    static constant constexpr const uint SPAN = PIECE;
    static constant constexpr const bool MINIMUM = true;

    template <uint N> struct Part {
        Words<N / 8> low;
        uint high;
        float2 scale_and_minimum;
    };

    template <uint N> static Part<N> load(Matrix matrix, uint row, uint first) {
        uint index = row * matrix.inputs + first;
        uint all = matrix.outputs * matrix.inputs;
        device const uchar *high = matrix.planes + next_plane(all / 2);
        device const uchar *scales = high + next_plane(all / 8);
        device const half2 *d = (device const half2 *)(scales + next_plane(all / 16));
        float2 scale_and_minimum = float2(((device const uchar2 *)scales)[index / 32]) * float2(d[index / 256]);
        return {load_words<N / 8>(matrix.planes, index / N), ((device const uint *)high)[index / 32] >> (first % 32 / 4), scale_and_minimum};
    }

    template <uint N> static float4 quad(thread const Part<N> &part, uint q) {
        return unsigned_floats(nibbles(part.low, q) | bits(part.high, q) << 4);
    }

    template <uint N> static float scale(thread const Part<N> &part, uint) {
        return part.scale_and_minimum.x;
    }

    template <uint N> static float minimum(thread const Part<N> &part, uint) {
        return -part.scale_and_minimum.y;
    }
};
