// What native.py hands over: a packed graph and one batch of frames. native_structs.py mirrors these
// structures field by field; `native_layout` lets it check that both sides were built alike.
//
// All memory belongs to Python: nothing here allocates.
//
// Spikes are stored as u8, s + 1, in [pixel][time-step][lane]: a dot product of u8 and s8 is one
// instruction on current CPUs, and a constant per output channel corrects for the 1. Time is cut
// into chunks of at most 64 steps, so that one word per pixel says at which steps it fired.
//
// Run whole (the engine `collapsed`), a network has one step, at which nodes send their counts
// instead of spikes: u8, count - least count, in images with a margin, so that a kernel may read
// across their edges.

#pragma once
#include <cstdint>

namespace native {

constexpr int LANES = 16;      // neurons handled at once: channels are padded to a multiple
constexpr int MAX_CHUNK = 64;  // bits of an activity mask

enum Kind : int32_t { INPUT, NEURONS, SUM_POOL, MAX_POOL, HEAD };
enum Form : int32_t { NARROW, WIDE, IDENTITY };  // of a synapse

// A convolution (a dense synapse is one whose kernel covers its source), or an identity.
struct Synapse {
    int32_t source;
    int32_t form;  // NARROW: u8 spikes; WIDE: int32 spikes, of large sum-pools
    int32_t kernel_h, kernel_w, stride, padding;
    int32_t width;           // channels read per tap; NARROW: rounded up to 4
    const int32_t* scale;    // IDENTITY: weight per lane
    const int8_t* weight;    // of a head: (outputs, taps * channels)
};

struct Node {
    int32_t kind;
    int32_t height, width, channels;
    int32_t lanes;   // storage per time-step, >= channels
    int32_t steps;   // time-steps stored of a chunk; the node is proven silent after them
    int32_t offset;  // u8 value that means no spike
    int32_t pad;     // pixels of margin around an image, holding `offset`; 0 in spike trains
    int32_t wide;    // spikes are int32 in `wide_spikes`
    int32_t shorts;  // pixels of the input are int16; `lanes` are then bytes, and all its readers
                     // are neurons with this mark, whose weights are int16
    uint8_t* spikes;
    int32_t* wide_spikes;
    uint64_t* mask;           // per pixel: steps of this chunk with a spike
    int16_t* tracer;          // spike count after each step, where a max-pool asks for it, or null
    const uint8_t* silence;   // `lanes` times `offset`

    int32_t source, kernel_h, kernel_w, stride, padding;  // pools

    int32_t synapses;  // neurons and heads
    int32_t blocks;    // lanes / LANES
    const Synapse* synapse;
    int32_t group;            // rows that are multiplied at once, at most
    int32_t row_bytes;        // of one row of all NARROW synapses, multiple of 4
    int32_t top;              // largest value that a row may hold
    int32_t fours;            // of inputs, whose products in pairs can be summed in 16 bits
    const int8_t* weight;     // [block][row_bytes / 4][LANES][4]
    const int32_t* correction;   // what the offsets add to every charge, negative
    const int32_t* silent;       // the share of each place of the kernels in it, [place][lane],
                                 // for a silent one is not read; null where all are read
    const int32_t* centred;      // the same of rows that are read as x - 128; null where a weight
                                 // is -128
    int32_t row_words;        // of one row of all WIDE synapses
    int32_t n_min, n_max;
    int32_t taps;             // of all synapses together
    const float* wide_weight;    // [row_words][lanes]
    const int32_t* threshold;    // per lane
    const float* inverse;        // 1 / threshold
    const int32_t* start;        // per lane: bias + threshold / 2; of a head the bias
    const int32_t* recurrent;    // per lane, or null
    int32_t* before;          // recurrent count of the last frame, [pixel][lane]
    int32_t* v;               // membranes, [pixel][lane]
    int64_t counts_at;        // where in a stream's results: [pixel][lane], of a head [output]; or
                              // -1: only in `trace`
    int64_t activity_at;
    int64_t trace_at;         // where in one time-step of the trace: [pixel][lane]
    int64_t carry;            // number of the recurrent layer
};

struct Carry {  // recurrent counts of one layer, as any tensor (N, C, H, W)
    const float* values;
    int64_t stride_n, stride_c, stride_h, stride_w;
};

// Rows of a product, read where they lie: each is `segments` stretches of `bytes`, `stride` apart.
// The rows of an image are its pixels, of which a kernel reads some lines; those of spike trains are
// time-steps, of which it reads one stretch at each of its places.
struct Part {
    const uint8_t* from;  // of the first row
    int64_t step;         // from one row to the next; 0 in silence
    int64_t segments, bytes, stride;
    int64_t at;           // of its first byte in a row, where its weights begin
};

struct Program {
    Node* nodes;
    int64_t node_count;
    int64_t whole;           // counts in one step, not spikes in many
    int64_t incremental;     // nothing is reset between frames: `Call` says where the last one ended
    int64_t chunk;           // time-steps at a time
    int32_t* wide_rows;      // of a group
    int32_t* charge;
    int32_t* correction;     // of a pixel at which some places are silent
    Part* parts;             // of one pixel, or of a group of them
    int32_t* vector;         // one node's counts, for the heads
};

struct Call {
    const int8_t* frame;  // (N, C, H, W)
    int64_t batch;
    int64_t limit;        // last time-step
    const Carry* carry;
    float* results;       // (N, result_size)
    int64_t result_size;
    int64_t* settle_steps;  // (N,)
    uint8_t* busy;          // (N,): a spike was still to come after the limit
    int8_t* trace;          // (N, trace_steps, trace_size), zeros, or null; run whole it is what
                            // the narrow nodes send, u8
    int64_t trace_steps, trace_size;
    int32_t* membranes;     // (N, result_size), at counts_at, or null
    // Of the frame before, run incrementally; null: there was none
    const int8_t* last_frame;
    const float* last_results;
    const int32_t* last_membranes;
    const uint8_t* quiet;   // (N,): nothing was in flight at its end
};

using Run = void (*)(const Program&, const Call&);

}  // namespace native
