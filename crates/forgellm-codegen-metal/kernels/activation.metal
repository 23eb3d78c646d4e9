// Activation functions, one float at a time. `kind`: 1 SiLU, 2 GELU by tanh, 3 GELU by the error function; anything else is the identity.
//
// Nothing here overflows, whatever x: fast math may assume that there is no infinity.

constant uint ACTIVATION_SILU = 1;
constant uint ACTIVATION_GELU_TANH = 2;
constant uint ACTIVATION_GELU_ERF = 3;

// x / (1 + exp(-z)).
inline float times_sigmoid(float x, float z) {
    float small = exp(-abs(z));
    return x / (1.0f + small) * (z < 0.0f ? small : 1.0f);
}

// x (1 + erf(x / sqrt 2)) / 2 with erfc by Abramowitz and Stegun, 7.1.26: an absolute error of 2e-7 |x|. The tail is used as it is for
// negative x, so nothing cancels there; at 20 it is 0.
inline float gelu_erf(float x) {
    float z = min(abs(x) * 0.70710678f, 20.0f);
    float t = 1.0f / (1.0f + 0.3275911f * z);
    float polynomial = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    float half_tail = 0.5f * polynomial * exp(-z * z);
    return x * (x < 0.0f ? half_tail : 1.0f - half_tail);
}

inline float activate(uint kind, float x) {
    if (kind == ACTIVATION_SILU) {
        return times_sigmoid(x, x);
    }
    if (kind == ACTIVATION_GELU_TANH) {
        // (1 + tanh z) / 2 = sigmoid(2 z), z = sqrt(2 / pi) (x + 0.044715 x^3). Beyond 100 nothing depends on the cube.
        float bounded = clamp(x, -100.0f, 100.0f);
        return times_sigmoid(x, 1.5957691f * bounded * (1.0f + 0.044715f * bounded * bounded));
    }
    if (kind == ACTIVATION_GELU_ERF) {
        return gelu_erf(x);
    }
    return x;
}
