// The KV cache as attention and rope see it.
//
// Keys of a layer lie [page][kv_head][PAGE][HEAD_DIM] in f16, its values the same. A sequence's page table gives the page that holds the
// positions index * PAGE .. (index + 1) * PAGE.

constant uint HEADS [[function_constant(30)]];     // query heads
constant uint KV_HEADS [[function_constant(31)]];  // key and value heads; they divide HEADS
constant uint HEAD_DIM [[function_constant(32)]];  // elements of a head: a multiple of 8, at most 256
constant uint PAGE [[function_constant(33)]];      // positions of a page: a multiple of 8

// Where the element 0 of a position's key (or value) lies, in elements. `table` is the page table of the position's sequence.
inline ulong kv_element(device const uint *table, uint kv_head, uint position) {
    const ulong page = table[position / PAGE];
    return ((page * KV_HEADS + kv_head) * PAGE + position % PAGE) * HEAD_DIM;
}

// The nearest finite f16. An infinite one would turn rows that do not even see it into NaN, by 0 * infinity.
inline half to_cache(float x) {
    return half(fmin(fmax(x, -65504.0f), 65504.0f));
}
