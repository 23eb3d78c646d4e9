// Activation functions, one float at a time. `kind`: 1 SiLU, 2 GELU by tanh, 3 GELU by the error function; anything else is the identity.
//
// No exponential here overflows: fast math may assume that there is no infinity.

constant uint ACTIVATION_SILU = 1;
constant uint ACTIVATION_GELU_TANH = 2;
constant uint ACTIVATION_GELU_ERF = 3;

// x / (1 + exp(-z)).
inline float times_sigmoid(float x, float z) {
    return x / (1.0f + exp(-max(z, -80.0f)));
}

// x (1 + erf(x / sqrt 2)) / 2 with erfc by Abramowitz and Stegun, 7.1.26: an absolute error of 2e-7 |x|. The tail is used as it is for
// negative x, so nothing cancels there.
inline float gelu_erf(float x) {
    float z = abs(x) * 0.70710678f;
    float t = 1.0f / (1.0f + 0.3275911f * z);
    float polynomial = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    float half_tail = 0.5f * polynomial * exp(-min(z * z, 80.0f));
    return x * (x < 0.0f ? half_tail : 1.0f - half_tail);
}

inline float activate(uint kind, float x) {
    if (kind == ACTIVATION_SILU) {
        return times_sigmoid(x, x);
    }
    if (kind == ACTIVATION_GELU_TANH) {
        // (1 + tanh z) / 2 = sigmoid(2 z), z = sqrt(2 / pi) (x + 0.044715 x^3).
        return times_sigmoid(x, 1.5957691f * x * (1.0f + 0.044715f * x * x));
    }
    if (kind == ACTIVATION_GELU_ERF) {
        return gelu_erf(x);
    }
    return x;
}
