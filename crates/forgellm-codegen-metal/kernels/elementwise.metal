// Operations on single elements: y[i] = f(a[i], b[i]) for so many elements. y may be a or b. A thread works on four elements.

constant uint ELEMENT_ACTIVATION [[function_constant(64)]];
constant float ELEMENT_FACTOR [[function_constant(65)]];

struct AddElements {
    static float of(float a, float b) { return a + b; }
};

struct MultiplyElements {
    static float of(float a, float b) { return a * b; }
};

struct ScaleElement {
    static float of(float a, float) { return ELEMENT_FACTOR * a; }
};

// ELEMENT_FACTOR is the cap. Metal's fast tanh is not a number for large arguments.
struct CapElement {
    static float of(float a, float) { return ELEMENT_FACTOR * precise::tanh(a / ELEMENT_FACTOR); }
};

struct ActivateElement {
    static float of(float a, float) { return activate(ELEMENT_ACTIVATION, a); }
};

template <typename Operation>
inline void each_element(device const float *a, device const float *b, device float *y, uint elements, uint thread_index) {
    uint first = thread_index * 4;
    if (first + 4 <= elements) {
        float4 left = ((device const float4 *)a)[thread_index];
        float4 right = ((device const float4 *)b)[thread_index];
        float4 result;
        for (uint i = 0; i < 4; i++) {
            result[i] = Operation::of(left[i], right[i]);
        }
        ((device float4 *)y)[thread_index] = result;
    } else {
        for (uint i = first; i < elements; i++) {
            y[i] = Operation::of(a[i], b[i]);
        }
    }
}

kernel void element_add(device const float *a [[buffer(0)]], device const float *b [[buffer(1)]],
                        device float *y [[buffer(2)]], constant uint &elements [[buffer(3)]],
                        uint thread_index [[thread_position_in_grid]]) {
    each_element<AddElements>(a, b, y, elements, thread_index);
}

kernel void element_mul(device const float *a [[buffer(0)]], device const float *b [[buffer(1)]],
                        device float *y [[buffer(2)]], constant uint &elements [[buffer(3)]],
                        uint thread_index [[thread_position_in_grid]]) {
    each_element<MultiplyElements>(a, b, y, elements, thread_index);
}

kernel void element_scale(device const float *a [[buffer(0)]], device float *y [[buffer(2)]],
                          constant uint &elements [[buffer(3)]], uint thread_index [[thread_position_in_grid]]) {
    each_element<ScaleElement>(a, a, y, elements, thread_index);
}

kernel void element_softcap(device const float *a [[buffer(0)]], device float *y [[buffer(2)]],
                            constant uint &elements [[buffer(3)]], uint thread_index [[thread_position_in_grid]]) {
    each_element<CapElement>(a, a, y, elements, thread_index);
}

kernel void element_activation(device const float *a [[buffer(0)]], device float *y [[buffer(2)]],
                               constant uint &elements [[buffer(3)]], uint thread_index [[thread_position_in_grid]]) {
    each_element<ActivateElement>(a, a, y, elements, thread_index);
}
