// The most likely tokens: the TOP_K largest logits of each wanted row, best first, equal ones in the order of their ids.
//
// Two dispatches. In the first, each simdgroup goes through TOP_SEGMENT logits and keeps the best in a list that lies sorted across its
// lanes; in the second, one simdgroup per wanted row does the same with the entries of all lists. A new entry goes in only if it beats the
// last of the list, so nearly all logits cost one comparison.
//
// A logit that is not a number counts as minus infinity, and the row's first id becomes TOP_NAN. Comparisons are on integers: fast math
// knows neither.

constant uint TOP_VOCAB [[function_constant(70)]];
constant uint TOP_K [[function_constant(71)]];
// Logits of a list, a multiple of 128.
constant uint TOP_SEGMENT [[function_constant(72)]];
// Lists of a row: TOP_VOCAB / TOP_SEGMENT, rounded up.
constant uint TOP_LISTS [[function_constant(73)]];

constant uint TOP_NAN = 0xffffffff;

// A result.
struct TopEntry {
    uint id;
    float logit;
};

// A logit and its id in the order of preference: x orders as the logit does, y is the id's complement. Nothing is worse than 0, 0.
using Candidate = uint2;

inline bool better(Candidate a, Candidate b) {
    return a.x > b.x || (a.x == b.x && a.y > b.y);
}

inline Candidate candidate(float logit, uint id, thread bool &nan) {
    uint bits = as_type<uint>(logit);
    if ((bits & 0x7fffffff) > 0x7f800000) {
        nan = true;
        bits = 0xff800000;
    }
    if (bits == 0x80000000) {
        bits = 0;
    }
    return Candidate(bits & 0x80000000 ? ~bits : bits | 0x80000000, ~id);
}

inline float logit_of(Candidate entry) {
    return as_type<float>(entry.x & 0x80000000 ? entry.x & 0x7fffffff : ~entry.x);
}

inline uint lanes_where(bool condition) {
    return (uint)(simd_vote::vote_t)simd_ballot(condition);
}

// A list of 32 * REGISTERS entries, best first: entry 32 * r + lane is `entries[r]` of that lane.
template <uint REGISTERS>
struct TopList {
    Candidate entries[REGISTERS];
    // The entry that a new one must beat: number TOP_K - 1.
    Candidate last;

    void clear() {
        for (uint r = 0; r < REGISTERS; r++) {
            entries[r] = Candidate(0);
        }
        last = Candidate(0);
    }

    // Puts the same entry on all lanes in its place.
    void insert(Candidate entry, uint lane) {
        uint position = 0;
        for (uint r = 0; r < REGISTERS; r++) {
            position += popcount(lanes_where(better(entries[r], entry)));
        }
        Candidate carried = Candidate(0);
        for (uint r = 0; r < REGISTERS; r++) {
            Candidate before = simd_shuffle_up(entries[r], 1);
            Candidate end = simd_broadcast(entries[r], 31);
            before = lane == 0 ? carried : before;
            uint own = 32 * r + lane;
            entries[r] = own < position ? entries[r] : own == position ? entry : before;
            carried = end;
        }
        for (uint r = 0; r < REGISTERS; r++) {
            if (r == (TOP_K - 1) / 32) {
                last = simd_broadcast(entries[r], (TOP_K - 1) % 32);
            }
        }
    }

    // Puts in each lane's entry that is good enough.
    void offer(Candidate entry, uint lane) {
        for (uint waiting = lanes_where(better(entry, last)); waiting != 0; waiting = lanes_where(better(entry, last))) {
            uint from = ctz(waiting);
            insert(simd_broadcast(entry, from), lane);
            if (lane == from) {
                entry = Candidate(0);
            }
        }
    }
};

// Threadgroups: (TOP_LISTS / simdgroups, wanted), the first rounded up.
template <uint REGISTERS>
kernel void top_lists(device const float *logits [[buffer(0)]],
                      device Candidate *lists [[buffer(1)]],
                      device uint *nans [[buffer(2)]],
                      uint2 group [[threadgroup_position_in_grid]],
                      uint lane [[thread_index_in_simdgroup]],
                      uint simdgroup [[simdgroup_index_in_threadgroup]],
                      uint simdgroups [[simdgroups_per_threadgroup]]) {
    uint list = group.x * simdgroups + simdgroup;
    if (list >= TOP_LISTS) {
        return;
    }
    logits += (ulong)group.y * TOP_VOCAB;
    TopList<REGISTERS> top;
    top.clear();
    bool nan = false;
    uint end = min((list + 1) * TOP_SEGMENT, TOP_VOCAB);
    for (uint start = list * TOP_SEGMENT; start < end; start += 128) {
        Candidate four[4];
        Candidate best = Candidate(0);
        if (TOP_VOCAB % 4 == 0) {
            uint first = start + 4 * lane;
            float4 read = first < end ? *(device const float4 *)(logits + first) : float4(0.0f);
            for (uint i = 0; i < 4; i++) {
                four[i] = first < end ? candidate(read[i], first + i, nan) : Candidate(0);
            }
        } else {
            for (uint i = 0; i < 4; i++) {
                uint id = start + 32 * i + lane;
                four[i] = id < end ? candidate(logits[id], id, nan) : Candidate(0);
            }
        }
        for (uint i = 0; i < 4; i++) {
            best = better(four[i], best) ? four[i] : best;
        }
        if (simd_any(better(best, top.last))) {
            for (uint i = 0; i < 4; i++) {
                top.offer(four[i], lane);
            }
        }
    }
    ulong number = (ulong)group.y * TOP_LISTS + list;
    nan = simd_any(nan);
    if (lane == 0) {
        nans[number] = nan;
    }
    for (uint r = 0; r < REGISTERS; r++) {
        if (32 * r + lane < TOP_K) {
            lists[number * TOP_K + 32 * r + lane] = top.entries[r];
        }
    }
}

// top[w]: the TOP_K entries of wanted row w. TOP_K is at most TOP_VOCAB. Threadgroups: wanted, of 32 threads.
template <uint REGISTERS>
kernel void top_merge(device const Candidate *lists [[buffer(0)]],
                      device const uint *nans [[buffer(1)]],
                      device TopEntry *top [[buffer(2)]],
                      uint row [[threadgroup_position_in_grid]],
                      uint lane [[thread_index_in_simdgroup]]) {
    lists += (ulong)row * TOP_LISTS * TOP_K;
    nans += (ulong)row * TOP_LISTS;
    top += (ulong)row * TOP_K;
    TopList<REGISTERS> merged;
    merged.clear();
    uint entries = TOP_LISTS * TOP_K;
    for (uint start = 0; start < entries; start += 32) {
        uint own = start + lane;
        merged.offer(own < entries ? lists[own] : Candidate(0), lane);
    }
    bool nan = false;
    for (uint list = lane; list < TOP_LISTS; list += 32) {
        nan = nan || nans[list] != 0;
    }
    nan = simd_any(nan);
    for (uint r = 0; r < REGISTERS; r++) {
        uint place = 32 * r + lane;
        if (place < TOP_K) {
            top[place].id = nan && place == 0 ? TOP_NAN : ~merged.entries[r].y;
            top[place].logit = logit_of(merged.entries[r]);
        }
    }
}
