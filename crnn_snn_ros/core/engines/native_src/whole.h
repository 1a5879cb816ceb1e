// The network run once: counts instead of spikes (the engine `collapsed`).
//
// The products are those of dot.h; what follows is a division by the threshold in place of the scan
// over time.

#pragma once
#include "dot.h"
#include "gather.h"
#include "heads.h"

namespace native {
namespace {

// clip(floor(v / threshold), n_min, n_max), exact. Proof: v + 1/2 is at least 1 / (2 threshold)
// away from any multiple of the threshold, so the true quotient x = (v + 1/2) / threshold is at
// least 1 / 4094 > 2^-12 from any integer and has the same floor. The computed one is off by at
// most |x| 2^-22: three roundings of 2^-24 relative each. Up to |x| = 257 that is below 2^-13, so
// the floor is right; beyond it both are outside of [-256, 256], and clipped alike.
NATIVE_INLINE Ints quotient(Ints v, Floats inverse, int32_t n_min, int32_t n_max) {
    const Floats x = (to_floats(v) + 0.5f) * inverse;
    Ints count = to_ints(x);                    // toward zero
    count += to_floats(count) > x;              // a true lane is -1: now the floor
    const Ints least = Ints{} + n_min, most = Ints{} + n_max;
    count = count < least ? least : count;
    return count > most ? most : count;
}

void Stream::run_whole() {
    steps = 1;
    for (long i = 0; i < program.node_count; ++i) {
        const Node& node = program.nodes[i];
        if (node.recurrent) load_carry(node);
        if (node.kind == INPUT) load_input(node);
        else if (node.kind == NEURONS) count_layer(node);
        else if (node.kind == HEAD) finish_head(node);
        else pool_whole(node);
    }
    call.settle_steps[index] = 0;
    call.busy[index] = false;
}

void Stream::count_layer(const Node& node) {
    for (long y = 0; y < node.height; ++y)
        for (long x = 0; x < node.width; x += node.group) {
            const long left = node.width - x;
            const long count = left < node.group ? left : node.group;
            multiply(node, program.parts, lay_lines(node, y, x), 0, count, node.correction,
                     program.charge);
            if (node.row_words) {
                gather_wide(node, y, x, count);
                add_wide(node, count, program.charge);
            }
            count_pixels(node, y, x, count);
        }
}

void Stream::gather_wide(const Node& node, long y, long x, long count) {
    int32_t* to = program.wide_rows;
    for (long end = x + count; x < end; ++x)
        for (int s = 0; s < node.synapses; ++s) {
            const Synapse& synapse = node.synapse[s];
            if (synapse.form != WIDE) continue;
            const Node& source = program.nodes[synapse.source];
            const long top = y * synapse.stride - synapse.padding;
            const long left = x * synapse.stride - synapse.padding;
            for (long sy = top; sy < top + synapse.kernel_h; ++sy)
                for (long sx = left; sx < left + synapse.kernel_w; ++sx, to += synapse.width)
                    std::memcpy(to, source.wide_spikes + stored(source, sy, sx) * source.lanes,
                                synapse.width * sizeof *to);
        }
}

// Divide the charges of some pixels of a row, from x on, and keep and send the counts.
void Stream::count_pixels(const Node& node, long y, long x, long count) {
    const long pixel = (y * node.width + x) * node.lanes, to = stored(node, y, x) * node.lanes;
    const Synapse* const skip = add_identities(node, y, x, count);
    for (long lane = 0; lane < node.lanes; lane += WIDTH) {
        const Ints start = load<Ints>(node.start + lane);
        const Floats inverse = load<Floats>(node.inverse + lane);
        const Ints scale = skip ? load<Ints>(skip->scale + lane) : Ints{};
        const Node& other = program.nodes[skip ? skip->source : 0];
        const uint8_t* seen = other.spikes + stored(other, y, x) * other.lanes + lane;
        const int32_t* charge = program.charge + lane;
        float* counts = node.counts_at < 0 ? nullptr : results + node.counts_at + pixel + lane;
        uint8_t* kept = kept_bytes(node) + pixel + lane;
        for (long p = 0, end = count * node.lanes; p < end; p += node.lanes) {
            Ints v = load<Ints>(charge + p) + start;
            if (skip) v += scale * (widened(load<Bytes>(seen + p)) - other.offset);
            const Ints counted = quotient(v, inverse, node.n_min, node.n_max);
            if (counts) store(counts + p, to_floats(counted));
            if (node.wide) {
                store(node.wide_spikes + to + lane + p, counted);
                continue;
            }
            const Bytes bytes = to_bytes(counted + node.offset);
            store(node.spikes + to + lane + p, bytes);
            store(kept + p, bytes);
        }
    }
}

// Charge pixels by recurrence and identities, all but one of the usual kind, which is returned: it
// may be added where the charges are in registers anyway.
const Synapse* Stream::add_identities(const Node& node, long y, long x, long count) {
    const Synapse* left = nullptr;
    for (int s = 0; s < node.synapses; ++s) {
        const Synapse& synapse = node.synapse[s];
        const Node& source = program.nodes[synapse.source];
        if (synapse.form != IDENTITY) continue;
        if (!left && !source.wide && source.lanes == node.lanes) {
            left = &synapse;
            continue;
        }
        for (long p = 0; p < count; ++p)
            add_identity(node, synapse, source, stored(source, y, x + p) * source.lanes,
                         program.charge + p * node.lanes);
    }
    const long first = (y * node.width + x) * node.lanes;
    for (long i = 0; node.recurrent && i < count * node.lanes; ++i)
        program.charge[i] += node.recurrent[i % node.lanes] * node.before[first + i];
    return left;
}

// The counts of a window: their largest or their sum, as they are stored, in lanes of type Values.
template <class Values, class Stored>
inline void pool_window(const Node& pool, const Node& source, const Window& window,
                        const Stored* from, Stored* to) {
    const long next = (source.width + 2l * source.pad) * source.lanes;
    const long height = window.bottom - window.top, width = window.right - window.left;
    for (long lane = 0; lane < pool.lanes; lane += sizeof(Values) / sizeof(Stored)) {
        Values pooled = load<Values>(from + lane);
        if (pool.kind == SUM_POOL) pooled = Values{};
        for (long y = 0; y < height; ++y)
            for (long x = 0; x < width; ++x) {
                const Values one = load<Values>(from + y * next + x * source.lanes + lane);
                if (pool.kind == SUM_POOL) pooled += one;
                else pooled = one > pooled ? one : pooled;
            }
        store(to + lane, pooled);
    }
}

// A sum that u8 cannot hold, of counts that it can.
inline void sum_wide(const Node& pool, const Node& source, const Window& window, long from,
                     int32_t* to) {
    const long next = (source.width + 2l * source.pad) * source.lanes;
    for (long lane = 0; lane < pool.lanes; lane += WIDTH) {
        Ints sum = {};
        for (long y = 0; y < window.bottom - window.top; ++y)
            for (long x = 0; x < window.right - window.left; ++x)
                sum += widened(load<Bytes>(source.spikes + from + y * next + x * source.lanes +
                                           lane)) - source.offset;
        store(to + lane, sum);
    }
}

void Stream::pool_whole(const Node& node) {
    const Node& source = program.nodes[node.source];
    for (long y = 0; y < node.height; ++y)
        for (long x = 0; x < node.width; ++x) {
            const Window window(node, source, y, x);
            const long from = stored(source, window.top, window.left) * source.lanes;
            const long to = stored(node, y, x) * node.lanes;
            if (!node.wide)
                pool_window<ByteBlock, uint8_t>(node, source, window, source.spikes + from, node.spikes + to);
            else if (source.wide)
                pool_window<Ints, int32_t>(node, source, window, source.wide_spikes + from,
                                           node.wide_spikes + to);
            else
                sum_wide(node, source, window, from, node.wide_spikes + to);
            if (node.kind == SUM_POOL) continue;
            const long pixel = (y * node.width + x) * node.lanes;
            for (long lane = 0; lane < node.lanes && node.wide; lane += WIDTH)
                store(results + node.counts_at + pixel + lane,
                      to_floats(load<Ints>(node.wide_spikes + to + lane)));
            if (!node.wide) std::memcpy(kept_bytes(node) + pixel, node.spikes + to, node.lanes);
        }
}

}  // namespace
}  // namespace native
