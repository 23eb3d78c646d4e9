// The KV cache as attention and rope see it.
//
// Keys of a layer lie [page][kv_head][PAGE][HEAD_DIM] in f16, its values the same. A sequence's page table gives the page that holds the
// positions index * PAGE .. (index + 1) * PAGE.
//
// In a q8_0 cache, a head of a page is codes [PAGE][HEAD_DIM] i8, then scales [PAGE][HEAD_DIM / 32] f16: 32 elements share a scale, so that
// HEAD_DIM is a multiple of 32. An element is scale * code.

constant uint HEADS [[function_constant(30)]];     // query heads
constant uint KV_HEADS [[function_constant(31)]];  // key and value heads; they divide HEADS
constant uint HEAD_DIM [[function_constant(32)]];  // elements of a head: a multiple of 8, at most 256
constant uint PAGE [[function_constant(33)]];      // positions of a page: a multiple of 8
constant bool KV_Q8 [[function_constant(38)]];     // whether the cache is q8_0 instead of f16

// Where the element 0 of a position's key (or value) lies, in elements. `table` is the page table of the position's sequence.
inline ulong kv_element(device const uint *table, uint kv_head, uint position) {
    const ulong page = table[position / PAGE];
    return ((page * KV_HEADS + kv_head) * PAGE + position % PAGE) * HEAD_DIM;
}

// The nearest finite f16. An infinite one would turn rows that do not even see it into NaN, by 0 * infinity.
inline half to_cache(float x) {
    return half(fmin(fmax(x, -65504.0f), 65504.0f));
}

// Bytes of a head of a page of a q8_0 cache.
inline ulong q8_page_bytes() {
    return PAGE * (HEAD_DIM + HEAD_DIM / 16);
}

// Where the codes of a position's key (or value) lie in a q8_0 cache, in bytes.
inline ulong q8_codes(device const uint *table, uint kv_head, uint position) {
    const ulong page = table[position / PAGE];
    return (page * KV_HEADS + kv_head) * q8_page_bytes() + position % PAGE * HEAD_DIM;
}

// Where its scales lie, in bytes, if its codes lie at `codes`.
inline ulong q8_scales(ulong codes, uint position) {
    const uint place = position % PAGE;
    return codes + (PAGE - place) * HEAD_DIM + place * (HEAD_DIM / 16);
}

// The scale of 32 elements of which `largest` is the largest absolute value. At most 515.5: what is unpacked must stay finite in f16.
inline half q8_scale(float largest) {
    return half(fmin(largest / 127.0f, 515.5f));
}

// The codes of elements.
inline char4 q8_code(float4 x, half scale) {
    const float4 steps = scale == 0.0h ? float4(0.0f) : rint(x / float(scale));
    return char4(clamp(steps, -127.0f, 127.0f));
}
