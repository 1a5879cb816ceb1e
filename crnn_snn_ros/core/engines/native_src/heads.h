// Sums that are not int8 products: wide ones, identity synapses, and the heads.

#pragma once
#include "pools.h"
#include "stream.h"

namespace native {
namespace {

constexpr int WIDE_ROWS = 8;

// Charge WIDTH neurons by R rows of `words` values; weights are `lanes` apart.
template <int R>
inline void wide_tile(const float* values, long words, const float* weight, long lanes,
                      int32_t* charge) {
    Floats sum[R] = {};
    for (long i = 0; i < words; ++i, weight += lanes) {
        const Floats w = load<Floats>(weight);
        NATIVE_UNROLL
        for (int r = 0; r < R; ++r) sum[r] += w * values[r * words + i];
    }
    for (int r = 0; r < R; ++r, charge += lanes)
        store(charge, load<Ints>(charge) + to_ints(sum[r]));
}

template <class Spike>
inline void add_scaled(int32_t* charge, const int32_t* scale, const Spike* spikes, int32_t offset,
                       long count) {
    if (count % WIDTH) {
        for (long c = 0; c < count; ++c) charge[c] += scale[c] * (int32_t(spikes[c]) - offset);
        return;
    }
    typedef Spike Spikes __attribute__((vector_size(sizeof(Spike) * WIDTH)));
    for (long c = 0; c < count; c += WIDTH) {
        const Ints sent = widened(load<Spikes>(spikes + c)) - offset;
        store(charge + c, load<Ints>(charge + c) + load<Ints>(scale + c) * sent);
    }
}

// What an identity synapse charges a pixel with, whose spikes lie at `at`.
inline void add_identity(const Node& node, const Synapse& synapse, const Node& source, long at,
                         int32_t* charge) {
    // The same lanes in whole blocks, but for the input and its pools.
    const long count = source.lanes == node.lanes ? node.lanes : source.channels;
    if (source.wide) add_scaled(charge, synapse.scale, source.wide_spikes + at, 0, count);
    else add_scaled(charge, synapse.scale, source.spikes + at, source.offset, count);
}

// A head only sums, so it sums the spikes before the weights: exact in integers.
void Stream::finish_head(const Node& node) {
    float* values = results + node.counts_at;
    int32_t sums[LANES];
    for (long first = 0; first < node.channels; first += LANES) {
        const long count = node.channels - first < LANES ? node.channels - first : LANES;
        for (long o = 0; o < count; ++o) sums[o] = node.start[first + o];
        for (int s = 0; s < node.synapses; ++s) {
            const Synapse& synapse = node.synapse[s];
            const Node& source = program.nodes[synapse.source];
            const long inputs = pixels(source) * source.channels;
            const int32_t* in = program.vector;
            read_counts(source, program.vector);
            for (long o = 0; o < count; ++o) {
                if (synapse.form == IDENTITY) {
                    sums[o] += synapse.scale[first + o] * in[first + o];
                    continue;
                }
                const int8_t* weight = synapse.weight + (first + o) * inputs;
                int32_t sum = 0;
                for (long i = 0; i < inputs; ++i) sum += weight[i] * in[i];
                sums[o] += sum;
            }
        }
        for (long o = 0; o < count; ++o) values[first + o] = float(sums[o]);
    }
}

// All that a node sent in this frame, [pixel][channel].
void Stream::read_counts(const Node& node, int32_t* values) const {
    const long count = pixels(node);
    if (node.kind == SUM_POOL) {
        const Node& source = program.nodes[node.source];
        int32_t* whole = values + count * node.channels;  // the larger source, behind the result
        read_counts(source, whole);
        add_windows(node, source, whole, values);
        return;
    }
    if (node.kind == INPUT && program.incremental) {  // changes were sent, but heads want it all
        const int8_t* frame = call.frame + index * node.channels * count;
        for (long p = 0; p < count; ++p)
            for (long c = 0; c < node.channels; ++c) *values++ = frame[c * count + p];
        return;
    }
    const bool sent = program.whole || node.kind == INPUT;  // all of it in one step
    for (long p = 0; p < count; ++p) {
        const long at = node.lanes * (sent ? stored(node, p / node.width, p % node.width) : p);
        for (long c = at; c < at + node.channels; ++c)
            *values++ = !sent ? int32_t(results[node.counts_at + c])
                        : node.wide ? node.wide_spikes[c] : node.spikes[c] - node.offset;
    }
}

}  // namespace
}  // namespace native
