// The scan of neurons over time, while their charges are in the cache.

#pragma once
#include "stream.h"

namespace native {
namespace {

// LANES neurons of neuron.py, in registers.
struct NeuronBlock {
    Ints threshold[PARTS], v[PARTS], count[PARTS];
    Ints pending[PARTS], recurrent[PARTS];  // recurrent counts' magnitudes, and signed weights
    ByteBlock fired;                        // how often, in this chunk
    int32_t n_min, n_max;

    // The time-step after `now` others; what it sends, s + 1.
    __attribute__((always_inline)) ByteBlock step(const int32_t* charge, long now, bool recurs) {
        Ints sent[PARTS];
        NATIVE_UNROLL
        for (int i = 0; i < PARTS; ++i) {
            v[i] += load<Ints>(charge + i * WIDTH);
            if (recurs) v[i] += recurrent[i] & (pending[i] > int32_t(now));
            const Ints rises = (v[i] >= threshold[i]) & (count[i] < n_max);
            const Ints falls = (v[i] < 0) & (count[i] > n_min);
            const Ints spike = falls - rises;  // a true lane is -1
            v[i] -= signed_by(threshold[i], spike);
            count[i] += spike;
            sent[i] = spike + 1;
        }
        const ByteBlock bytes = to_bytes(sent);
        fired -= ByteBlock(bytes != 1);
        return bytes;
    }

    __attribute__((always_inline)) void keep_counts(int16_t* tracer) const {
        NATIVE_UNROLL
        for (int i = 0; i < PARTS; ++i) store(tracer + i * WIDTH, to_shorts(count[i]));
    }
};

void Stream::scan(const Node& node, const Job& job) {
    long reach = 0;  // steps of this chunk at which a recurrent spike is pending
    if (node.recurrent) {
        const int32_t* before = node.before + job.pixel * node.lanes;
        for (long c = 0; c < node.channels; ++c) {
            const long size = before[c] < 0 ? -before[c] : before[c];
            if (size - start > reach) reach = size - start;
        }
        if (!reach && !job.last && !restless(node, job.pixel)) {
            if (node.mask[job.pixel]) keep_tracer(node, job.pixel);
            node.mask[job.pixel] = 0;
            return;
        }
    }
    uint64_t fired = 0;
    for (long lane = 0; lane < node.lanes; lane += LANES)
        fired |= scan_block(node, job, lane, reach);
    node.mask[job.pixel] = fired;
    if (fired) {
        const long last = start + 64 - __builtin_clzll(fired);
        if (last > settled_at) settled_at = last;
    }
}

// As the chunk before left them, or as a frame begins.
inline __attribute__((always_inline)) NeuronBlock Stream::begin_block(const Node& node, long at,
                                                                long lane, long reach) const {
    NeuronBlock block = {};
    block.n_min = node.n_min, block.n_max = node.n_max;
    NATIVE_UNROLL
    for (int i = 0; i < PARTS; ++i, lane += WIDTH, at += WIDTH) {
        block.threshold[i] = load<Ints>(node.threshold + lane);
        block.v[i] = load<Ints>(first() ? node.start + lane : node.v + at);
        if (!first()) block.count[i] = to_ints(load<Floats>(results + node.counts_at + at));
        if (reach <= 0) continue;
        const Ints before = load<Ints>(node.before + at);
        block.pending[i] = before < 0 ? -before : before;
        block.recurrent[i] = signed_by(load<Ints>(node.recurrent + lane), before);
    }
    return block;
}

inline __attribute__((always_inline)) void Stream::end_block(const Node& node, long at,
                                                             const NeuronBlock& block) {
    NATIVE_UNROLL
    for (int i = 0; i < PARTS; ++i, at += WIDTH) {
        store(node.v + at, block.v[i]);
        store(results + node.counts_at + at, to_floats(block.count[i]));
        float* const activity = results + node.activity_at + at;
        Floats fired = to_floats(part_of(block.fired, i));
        if (!first()) fired += load<Floats>(activity);
        store(activity, fired);
    }
}

// The neurons of neuron.py, a block at once, over the chunk. Returns the steps at which any fired.
uint64_t Stream::scan_block(const Node& node, const Job& job, long lane, long reach) {
    const long at = job.pixel * node.lanes + lane;
    const long end = steps < node.steps ? steps : node.steps;
    NeuronBlock block = begin_block(node, at, lane, reach);
    static const int32_t nothing[LANES] = {};
    const int32_t* charge = job.charge + lane;
    uint8_t* spikes = node.spikes + job.pixel * node.steps * node.lanes + lane;
    int16_t* tracer = node.tracer ? node.tracer + job.pixel * node.steps * node.lanes + lane
                                  : nullptr;
    // Up to the last arrival every step is computed, without asking what happens at it: a branch
    // that is guessed wrong costs more. After it, only as long as something fires.
    const long expected = job.last > reach ? job.last : reach;
    uint64_t steps_fired = 0;
    bool awake = true;  // fired at the step before, so it may fire again without any charge
    long t = 0;
    for (; t < end && (t < expected || awake); ++t, spikes += node.lanes) {
        const long charged = (t >= job.first) & (t < job.last);
        const ByteBlock sent = block.step(charged ? charge : nothing, start + t, t < reach);
        charge += charged * node.lanes;
        store(spikes, sent);
        awake = fires(sent);
        steps_fired |= uint64_t(awake) << t;
        if (tracer) block.keep_counts(tracer + t * node.lanes);
    }
    for (; t < end; ++t, spikes += node.lanes) {
        std::memset(spikes, 1, LANES);
        if (tracer) block.keep_counts(tracer + t * node.lanes);
    }
    end_block(node, at, block);
    return steps_fired;
}

}  // namespace
}  // namespace native
