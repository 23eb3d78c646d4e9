// Operations on single elements: y[i] = f(a[i], b[i]) for so many elements. y may be a or b. A thread works on four elements.

struct AddElements {
    float of(float a, float b) const { return a + b; }
};

struct MultiplyElements {
    float of(float a, float b) const { return a * b; }
};

struct ScaleElement {
    float factor;
    float of(float a, float) const { return factor * a; }
};

// Metal's fast tanh is not a number for large arguments.
struct CapElement {
    float cap;
    float of(float a, float) const { return cap * precise::tanh(a / cap); }
};

struct ActivateElement {
    uint kind;
    float of(float a, float) const { return activate(kind, a); }
};

template <typename Operation>
inline void each_element(Operation operation, device const float *a, device const float *b, device float *y, uint elements,
                         uint thread_index) {
    uint first = thread_index * 4;
    if (first + 4 <= elements) {
        float4 left = ((device const float4 *)a)[thread_index];
        float4 right = ((device const float4 *)b)[thread_index];
        float4 result;
        for (uint i = 0; i < 4; i++) {
            result[i] = operation.of(left[i], right[i]);
        }
        ((device float4 *)y)[thread_index] = result;
    } else {
        for (uint i = first; i < elements; i++) {
            y[i] = operation.of(a[i], b[i]);
        }
    }
}

kernel void element_add(device const float *a [[buffer(0)]],
                        device const float *b [[buffer(1)]],
                        device float *y [[buffer(2)]],
                        constant uint &elements [[buffer(3)]],
                        uint thread_index [[thread_position_in_grid]]) {
    each_element(AddElements{}, a, b, y, elements, thread_index);
}

kernel void element_mul(device const float *a [[buffer(0)]],
                        device const float *b [[buffer(1)]],
                        device float *y [[buffer(2)]],
                        constant uint &elements [[buffer(3)]],
                        uint thread_index [[thread_position_in_grid]]) {
    each_element(MultiplyElements{}, a, b, y, elements, thread_index);
}

kernel void element_scale(device const float *a [[buffer(0)]],
                          device float *y [[buffer(2)]],
                          constant uint &elements [[buffer(3)]],
                          constant float &factor [[buffer(4)]],
                          uint thread_index [[thread_position_in_grid]]) {
    each_element(ScaleElement{factor}, a, a, y, elements, thread_index);
}

kernel void element_softcap(device const float *a [[buffer(0)]],
                            device float *y [[buffer(2)]],
                            constant uint &elements [[buffer(3)]],
                            constant float &cap [[buffer(4)]],
                            uint thread_index [[thread_position_in_grid]]) {
    each_element(CapElement{cap}, a, a, y, elements, thread_index);
}

kernel void element_activation(device const float *a [[buffer(0)]],
                               device float *y [[buffer(2)]],
                               constant uint &elements [[buffer(3)]],
                               constant uint &kind [[buffer(4)]],
                               uint thread_index [[thread_position_in_grid]]) {
    each_element(ActivateElement{kind}, a, a, y, elements, thread_index);
}
