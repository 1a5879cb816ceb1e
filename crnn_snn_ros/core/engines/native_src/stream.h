// One frame of one stream: what it knows, and its parts (gather.h, heads.h, whole.h, kernel.cpp).

#pragma once
#include "lanes.h"

namespace native {
namespace {

struct Job {  // a pixel whose rows are gathered
    long pixel, first_row;
    uint64_t arrivals;  // steps of this chunk at which a source fired
};

struct NeuronBlock;

// The layers of one frame of one stream.
class Stream {
public:
    Stream(const Program& program, const Call& call, long index)
        : program(program), call(call), index(index),
          results(call.results + index * call.result_size),
          fresh(!program.incremental || !call.last_results) {}

    void run();        // spikes over time
    void run_whole();  // counts, once

private:
    const Program& program;
    const Call& call;
    const long index;
    float* const results;
    const bool fresh;  // begins from nothing, not where the frame before ended
    long start = 0, steps = 0;  // of the chunk: time-steps start + 1 ... start + steps
    long settled_at = 0;        // last time-step with a spike, or a recurrent one pending

    void load_input(const Node& node);
    void load_changes(const Node& node);
    void load_carry(const Node& node);
    void resume(const Node& node);
    void run_neurons(const Node& node);
    bool can_rest(const Node& node) const;
    void keep_tracer(const Node& node, long pixel);
    uint64_t gather_taps(const Node& node, long pixel);
    void gather_rows(const Node& node, long pixel, uint64_t arrivals, uint8_t* rows,
                     int32_t* wide_rows);
    uint8_t* copy_pixels(uint8_t* to, const Node& node, const Synapse& synapse, long pixel,
                         bool now);
    void fire(const Node& node, const Job* jobs, int count, long rows);
    void add_wide(const Node& node, long rows);
    void add_identities(const Node& node, const Job& job);
    void scan(const Node& node, const Job& job);
    uint64_t scan_block(const Node& node, const Job& job, long lane, long reach);
    NeuronBlock begin_block(const Node& node, long at, long lane, long reach) const;
    void end_block(const Node& node, long at, const NeuronBlock& block);
    void finish_head(const Node& node);
    void read_counts(const Node& node, int32_t* values) const;
    bool would_fire() const;
    void count_layer(const Node& node);
    int lay_parts(const Node& node, long y, long x);
    void gather_wide(const Node& node, long y, long x, long count);
    const Synapse* add_identities(const Node& node, long y, long x, long count);
    void count_pixels(const Node& node, long y, long x, long count);
    void pool_whole(const Node& node);
    void write_trace(const Node& node) const;
    void write_membranes(const Node& node) const;

    bool first() const { return fresh && start == 0; }  // no step was run before
    bool restless(const Node& node, long pixel) const {  // at the end of the chunk before
        return first() || (node.mask[pixel] >> (program.chunk - 1) & 1);
    }
    // Place of a pixel in an image with its margin.
    static long stored(const Node& node, long y, long x) {
        return (y + node.pad) * (node.width + 2l * node.pad) + x + node.pad;
    }
    // Where a node's counts of one step are kept, as they are stored.
    uint8_t* kept_bytes(const Node& node) const {
        return reinterpret_cast<uint8_t*>(call.trace) + index * call.trace_size + node.trace_at;
    }
    static long spike_size(const Node& node) { return node.wide ? sizeof(int32_t) : 1; }
    long pixels(const Node& node) const { return long(node.height) * node.width; }
};

}  // namespace
}  // namespace native
