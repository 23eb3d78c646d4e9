// Root-mean-square norm: y = x / sqrt(mean(x^2) + eps) * weight for each chunk of NORM_WIDTH elements, plus the residual where there is one.
//
// A chunk is a whole row or one head of it; chunks lie one after the other. y may be x or the residual.

constant uint NORM_WIDTH [[function_constant(60)]];
constant float NORM_EPS [[function_constant(61)]];
constant bool NORM_RESIDUAL [[function_constant(62)]];
// Whether a whole threadgroup works on a chunk; otherwise each of its simdgroups has a chunk of its own.
constant bool NORM_WIDE [[function_constant(63)]];

inline float square(float x) { return x * x; }
inline float square(float4 x) { return dot(x, x); }

// `Vector` is float4 where the width allows it. `count` vectors, of which this thread takes every `step`th from `first` on.
template <typename Vector>
inline float sum_of_squares(device const float *x, uint count, uint first, uint step) {
    device const Vector *vectors = (device const Vector *)x;
    float sum = 0.0f;
    for (uint i = first; i < count; i += step) {
        sum += square(vectors[i]);
    }
    return sum;
}

template <typename Vector>
inline void write_normed(device const float *x, device const float *weight, device const float *residual, device float *y,
                         float factor, uint count, uint first, uint step) {
    device const Vector *vectors = (device const Vector *)x;
    device const Vector *weights = (device const Vector *)weight;
    device const Vector *added = (device const Vector *)residual;
    device Vector *normed = (device Vector *)y;
    for (uint i = first; i < count; i += step) {
        Vector value = vectors[i] * factor * weights[i];
        if (NORM_RESIDUAL) {
            value += added[i];
        }
        normed[i] = value;
    }
}

// Without a residual, the host binds anything to `residual`. Threadgroups: chunks if NORM_WIDE, else chunks / simdgroups, rounded up.
kernel void rms_norm(device const float *x [[buffer(0)]],
                     device const float *weight [[buffer(1)]],
                     device const float *residual [[buffer(2)]],
                     device float *y [[buffer(3)]],
                     constant uint &chunks [[buffer(4)]],
                     uint group [[threadgroup_position_in_grid]],
                     uint thread_index [[thread_index_in_threadgroup]],
                     uint threads [[threads_per_threadgroup]],
                     uint lane [[thread_index_in_simdgroup]],
                     uint simdgroup [[simdgroup_index_in_threadgroup]],
                     uint simdgroups [[simdgroups_per_threadgroup]]) {
    threadgroup float partial_sums[32];

    uint chunk = NORM_WIDE ? group : group * simdgroups + simdgroup;
    if (chunk >= chunks) {
        return;
    }
    ulong start = (ulong)chunk * NORM_WIDTH;
    x += start;
    y += start;
    residual += start;
    uint first = NORM_WIDE ? thread_index : lane;
    uint step = NORM_WIDE ? threads : 32;
    bool vectors = NORM_WIDTH % 4 == 0;
    uint count = vectors ? NORM_WIDTH / 4 : NORM_WIDTH;

    float sum = vectors ? sum_of_squares<float4>(x, count, first, step) : sum_of_squares<float>(x, count, first, step);
    sum = simd_sum(sum);
    if (NORM_WIDE) {
        if (lane == 0) {
            partial_sums[simdgroup] = sum;
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        sum = 0.0f;
        for (uint i = 0; i < simdgroups; i++) {
            sum += partial_sums[i];
        }
    }
    float factor = precise::rsqrt(sum / (float)NORM_WIDTH + NORM_EPS);
    if (vectors) {
        write_normed<float4>(x, weight, residual, y, factor, count, first, step);
    } else {
        write_normed<float>(x, weight, residual, y, factor, count, first, step);
    }
}
