// One frame of a spiking network, layer by layer within a chunk of time-steps.
//
// Compiled once per instruction set (NATIVE_NAME), all alike but for dot.h. A layer multiplies, for
// each output pixel, the input spikes of the time-steps between the first and the last at which
// anything arrives, where they lie; and scans its neurons over time while their charges are still in
// the cache.

#include "dot.h"
#include "gather.h"
#include "heads.h"
#include "pools.h"
#include "scan.h"
#include "whole.h"

namespace native {
namespace {

void Stream::run() {
    Node* const nodes = program.nodes;
    const long last = program.node_count;
    for (long i = 0; i < last; ++i)
        if (nodes[i].recurrent) load_carry(nodes[i]);
    for (long i = 0; i < last && !fresh; ++i)
        if (nodes[i].kind == NEURONS || nodes[i].kind == MAX_POOL) resume(nodes[i]);
    do {
        steps = call.limit - start < program.chunk ? call.limit - start : program.chunk;
        for (long i = 0; i < last; ++i) {
            const Node& node = nodes[i];
            if (node.kind == INPUT) load_input(node);
            else if (node.kind == NEURONS) run_neurons(node);
            else if (node.kind == SUM_POOL) sum_pool(node, nodes[node.source], steps);
            else if (node.kind == MAX_POOL)
                max_pool(node, nodes[node.source], steps, first(), results);
            if (call.trace && (node.kind == NEURONS || node.kind == MAX_POOL)) write_trace(node);
        }
        start += steps;
    } while (settled_at >= start && start < call.limit);
    for (long i = 0; i < last; ++i)
        if (nodes[i].kind == HEAD) finish_head(nodes[i]);
    for (long i = 0; i < last && call.membranes; ++i)
        if (nodes[i].kind == NEURONS) write_membranes(nodes[i]);
    call.settle_steps[index] = settled_at < call.limit ? settled_at : call.limit;
    call.busy[index] = settled_at > call.limit || (settled_at == call.limit && would_fire());
}

// Incrementally a frame goes on from the end of the last one, as if it were its next chunk.
void Stream::resume(const Node& node) {
    const long count = pixels(node), size = count * node.lanes;
    const long at = index * call.result_size + node.counts_at;
    std::memcpy(results + node.counts_at, call.last_results + at, size * sizeof *results);
    std::memset(results + node.activity_at, 0, size * sizeof *results);
    if (node.kind == NEURONS) std::memcpy(node.v, call.last_membranes + at, size * sizeof *node.v);
    const uint64_t mask = call.quiet[index] ? 0 : uint64_t(1) << (program.chunk - 1);
    for (long p = 0; p < count; ++p) {
        node.mask[p] = mask;
        keep_tracer(node, p);
    }
}

// Whether nothing can happen in a layer in this chunk, so that its pixels need not be looked at.
bool Stream::can_rest(const Node& node) const {
    if (first() || node.recurrent) return false;
    for (int s = 0; s < node.synapses; ++s) {
        const Node& source = program.nodes[node.synapse[s].source];
        for (long p = 0; p < pixels(source); ++p)
            if (source.mask[p]) return false;
    }
    for (long p = 0; p < pixels(node); ++p)
        if (restless(node, p)) return false;
    return true;
}

// A silent pixel's tracer is its first entry alone.
void Stream::keep_tracer(const Node& node, long pixel) {
    if (!node.tracer) return;
    const float* counts = results + node.counts_at + pixel * node.lanes;
    int16_t* to = node.tracer + pixel * node.steps * node.lanes;
    for (long c = 0; c < node.lanes; ++c) to[c] = int16_t(counts[c]);
}

void Stream::run_neurons(const Node& node) {
    const long count = pixels(node);
    if (can_rest(node)) {
        for (long p = 0; p < count; ++p) {
            if (node.mask[p]) keep_tracer(node, p);
            node.mask[p] = 0;
        }
        return;
    }
    if (start == 0 && reads_image(node)) return charge_image(node);
    for (long pixel = 0; pixel < count; ++pixel) charge_pixel(node, pixel);
}

// Whether all that a layer reads are pixels, which arrive at the first step.
bool Stream::reads_image(const Node& node) const {
    for (int s = 0; s < node.synapses; ++s) {
        const Synapse& synapse = node.synapse[s];
        const Node& source = program.nodes[synapse.source];
        if (source.kind != INPUT || synapse.form != NARROW || synapse.width != source.lanes ||
            source.pad < synapse.padding)
            return false;
    }
    return true;
}

void Stream::charge_image(const Node& node) {
    for (long y = 0; y < node.height; ++y)
        for (long x = 0; x < node.width; x += node.group) {
            const long left = node.width - x;
            const long count = left < node.group ? left : node.group;
            multiply(node, program.parts, lay_lines(node, y, x), 0, count, node.correction,
                     program.charge);
            for (long p = 0; p < count; ++p)
                scan(node, {y * node.width + x + p, 0, 1, program.charge + p * node.lanes});
        }
}

void Stream::charge_pixel(const Node& node, long pixel) {
    const uint64_t arrivals = lay_taps(node, pixel, 0);
    if (!arrivals && !node.recurrent && !restless(node, pixel)) {
        if (node.mask[pixel]) keep_tracer(node, pixel);
        node.mask[pixel] = 0;
        return;
    }
    Job job = {pixel, 0, 0, program.charge};
    if (arrivals) job.first = __builtin_ctzll(arrivals), job.last = 64 - __builtin_clzll(arrivals);
    for (long t = job.first, end; t < job.last; t = end) {
        if (t >= lasting) lay_taps(node, pixel, t);
        end = lasting < job.last ? lasting : job.last;
        charge_steps(node, t, end, job.charge + (t - job.first) * node.lanes);
    }
    add_identities(node, job);
    scan(node, job);
}

void Stream::charge_steps(const Node& node, long first, long last, int32_t* charge) {
    multiply(node, program.parts, narrow_end, first, last - first, correction, charge);
    if (!node.row_words) return;
    gather_steps(first, last);
    add_wide(node, last - first, charge);
}

// Products of wide values, in floats, which the proven bound makes exact.
void Stream::add_wide(const Node& node, long rows, int32_t* charges) {
    const long words = node.row_words;
    auto* values = reinterpret_cast<float*>(program.wide_rows);
    for (long i = 0; i < rows * words; ++i) {
        const float value = float(program.wide_rows[i]);
        std::memcpy(values + i, &value, sizeof value);
    }
    for (long lane = 0; lane < node.lanes; lane += WIDTH) {
        const float* weight = node.wide_weight + lane;
        int32_t* charge = charges + lane;
        long row = 0;
        for (; row + WIDE_ROWS <= rows; row += WIDE_ROWS)
            wide_tile<WIDE_ROWS>(values + row * words, words, weight, node.lanes,
                                 charge + row * node.lanes);
        for (; row < rows; ++row)
            wide_tile<1>(values + row * words, words, weight, node.lanes,
                         charge + row * node.lanes);
    }
}

void Stream::add_identities(const Node& node, const Job& job) {
    for (int s = 0; s < node.synapses; ++s) {
        const Synapse& synapse = node.synapse[s];
        if (synapse.form != IDENTITY) continue;
        const Node& source = program.nodes[synapse.source];
        const uint64_t fired = source.mask[job.pixel];
        const long at = stored(source, job.pixel / node.width, job.pixel % node.width);
        int32_t* charge = job.charge;
        for (long t = job.first; t < job.last; ++t, charge += node.lanes)
            if (fired >> t & 1)
                add_identity(node, synapse, source, (at * source.steps + t) * source.lanes, charge);
    }
}

bool Stream::would_fire() const {
    for (long i = 0; i < program.node_count; ++i) {
        const Node& node = program.nodes[i];
        if (node.kind != NEURONS) continue;
        const float* counts = results + node.counts_at;
        const int32_t* v = node.v;
        for (long p = 0; p < pixels(node); ++p, counts += node.lanes, v += node.lanes)
            for (long c = 0; c < node.channels; ++c)
                if ((v[c] >= node.threshold[c] && counts[c] < node.n_max) ||
                    (v[c] < 0 && counts[c] > node.n_min))
                    return true;
    }
    return false;
}

void Stream::write_trace(const Node& node) const {
    int8_t* trace = call.trace + (index * call.trace_steps + start) * call.trace_size;
    trace += node.trace_at;
    for (long p = 0; p < pixels(node); ++p)
        for (uint64_t left = node.mask[p]; left; left &= left - 1) {
            const long t = __builtin_ctzll(left);
            const uint8_t* spikes = node.spikes + (p * node.steps + t) * node.lanes;
            int8_t* to = trace + t * call.trace_size + p * node.lanes;
            for (long c = 0; c < node.lanes; ++c) to[c] = int8_t(spikes[c] - node.offset);
        }
}

void Stream::write_membranes(const Node& node) const {
    int32_t* membranes = call.membranes + index * call.result_size + node.counts_at;
    std::memcpy(membranes, node.v, pixels(node) * node.lanes * sizeof *membranes);
}

}  // namespace

void NATIVE_NAME(const Program& program, const Call& call) {
    for (long index = 0; index < call.batch; ++index) {
        Stream stream(program, call, index);
        if (program.whole) stream.run_whole();
        else stream.run();
    }
}

}  // namespace native
