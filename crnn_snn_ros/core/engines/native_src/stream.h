// One frame of one stream: what it knows, and its parts (gather.h, heads.h, whole.h, kernel.cpp).

#pragma once
#include "lanes.h"

namespace native {
namespace {

struct Job {  // a pixel that is charged
    long pixel;
    long first, last;  // a source fires at steps first + 1 ... last of this chunk at most
    int32_t* charge;   // of these steps, `lanes` each
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
    Part* narrow_end = nullptr;  // of the parts of NARROW synapses; behind them are
    Part* wide_end = nullptr;    // those of WIDE ones
    const int32_t* correction = nullptr;  // of the places that are among them
    long lasting = 0;            // steps of this chunk for which they are right

    void load_input(const Node& node);
    void load_changes(const Node& node);
    void load_carry(const Node& node);
    void resume(const Node& node);
    void run_neurons(const Node& node);
    bool can_rest(const Node& node) const;
    void keep_tracer(const Node& node, long pixel);
    bool reads_image(const Node& node) const;
    void charge_image(const Node& node);
    void charge_pixel(const Node& node, long pixel);
    uint64_t lay_taps(const Node& node, long pixel, long now);
    uint64_t lay_taps(const Node& node, const Synapse& synapse, long pixel, bool over, long place,
                      long at);
    void skip_place(const Node& node, long place);
    void charge_steps(const Node& node, long first, long last, int32_t* charge);
    void gather_steps(long first, long last);
    void add_wide(const Node& node, long rows, int32_t* charges);
    void add_identities(const Node& node, const Job& job);
    void scan(const Node& node, const Job& job);
    uint64_t scan_block(const Node& node, const Job& job, long lane, long reach);
    NeuronBlock begin_block(const Node& node, long at, long lane, long reach) const;
    void end_block(const Node& node, long at, const NeuronBlock& block);
    void finish_head(const Node& node);
    void read_counts(const Node& node, int32_t* values) const;
    bool would_fire() const;
    void count_layer(const Node& node);
    Part* lay_lines(const Node& node, long y, long x);
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
