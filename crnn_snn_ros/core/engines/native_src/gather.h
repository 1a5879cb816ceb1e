// What comes in: pixels, the carry, and where the products read their rows.

#pragma once
#include "stream.h"

namespace native {
namespace {

// A row of pixels of up to four planes, interleaved.
inline void load_pixels(const int8_t* plane, long next, long planes, long width, uint8_t* to,
                        long lanes) {
    if (planes == 3) {
        for (long x = 0; x < width; ++x, to += lanes) {
            const uint32_t word = uint32_t(uint8_t(plane[x])) |
                                  uint32_t(uint8_t(plane[next + x])) << 8 |
                                  uint32_t(uint8_t(plane[2 * next + x])) << 16;
            const uint32_t shifted = word ^ 0x80808080u;
            std::memcpy(to, &shifted, sizeof shifted);
        }
        return;
    }
    for (long x = 0; x < width; ++x, to += lanes)
        for (long c = 0; c < 4; ++c)
            to[c] = uint8_t((c < planes ? plane[c * next + x] : 0) ^ 0x80);
}

// The same as int16, with nothing between them. (Of three planes a word is one short too long: a 0
// in the margin, or at the end, or where the next pixel will be.)
inline void load_shorts(const int8_t* plane, long next, long planes, long width, int16_t* to) {
    if (planes < 3 || planes > 4) {
        for (long x = 0; x < width; ++x)
            for (long c = 0; c < planes; ++c) *to++ = plane[c * next + x];
        return;
    }
    const int8_t* last = plane + (planes - 1) * next;
    const uint64_t keep = planes == 4 ? ~uint64_t{} : 0;
    for (long x = 0; x < width; ++x, to += planes) {
        const uint64_t word = uint64_t(uint16_t(plane[x])) |
                              uint64_t(uint16_t(plane[next + x])) << 16 |
                              uint64_t(uint16_t(plane[2 * next + x])) << 32 |
                              (uint64_t(uint16_t(last[x])) << 48 & keep);
        std::memcpy(to, &word, sizeof word);
    }
}

// Pixels as u8, x + 128, interleaved. They are sent at the first time-step only.
void Stream::load_input(const Node& node) {
    if (node.wide) return load_changes(node);
    const long count = pixels(node);
    const uint64_t mask = start == 0;
    if (node.mask[0] != mask)  // from one frame to the next it is mostly the same
        for (long p = 0; p < count; ++p) node.mask[p] = mask;
    if (start > 0) return;
    const int8_t* frame = call.frame + index * node.channels * count;
    for (long y = 0; y < node.height && node.shorts; ++y)
        load_shorts(frame + y * node.width, count, node.channels, node.width,
                    reinterpret_cast<int16_t*>(node.spikes + stored(node, y, 0) * node.lanes));
    if (node.shorts) return;
    for (long first = 0; first < node.channels; first += 4) {
        const long planes = node.channels - first < 4 ? node.channels - first : 4;
        for (long y = 0; y < node.height; ++y)
            load_pixels(frame + first * count + y * node.width, count, planes, node.width,
                        node.spikes + stored(node, y, 0) * node.lanes + first, node.lanes);
    }
}

// What has changed since the frame before, which u8 cannot hold.
void Stream::load_changes(const Node& node) {
    const long count = pixels(node), first_at = index * node.channels * count;
    std::memset(node.mask, 0, count * sizeof *node.mask);
    if (start > 0) return;
    for (long c = 0; c < node.channels; ++c) {
        const int8_t* now = call.frame + first_at + c * count;
        const int8_t* last = fresh ? nullptr : call.last_frame + first_at + c * count;
        int32_t* to = node.wide_spikes + c;
        for (long p = 0; p < count; ++p, to += node.lanes) {
            *to = now[p] - (last ? last[p] : 0);
            node.mask[p] |= *to != 0;
        }
    }
}

void Stream::load_carry(const Node& node) {
    const Carry& carry = call.carry[node.carry];
    const float* values = carry.values + index * carry.stride_n;
    int32_t* to = node.before;
    long reach = 0;
    for (long y = 0; y < node.height; ++y)
        for (long x = 0; x < node.width; ++x, to += node.lanes)
            for (long c = 0; c < node.channels; ++c) {
                const float* at =
                    values + c * carry.stride_c + y * carry.stride_h + x * carry.stride_w;
                to[c] = int32_t(*at);
                const long size = to[c] < 0 ? -to[c] : to[c];
                if (size > reach) reach = size;
            }
    if (reach > settled_at) settled_at = reach;
}

// Where the pixels of a line, from x on, read their inputs, which lie in images. Returns the end of
// the parts.
Part* Stream::lay_lines(const Node& node, long y, long x) {
    Part* part = program.parts;
    long at = 0;
    for (int s = 0; s < node.synapses; ++s) {
        const Synapse& synapse = node.synapse[s];
        if (synapse.form != NARROW) continue;
        const Node& source = program.nodes[synapse.source];
        const long top = y * synapse.stride - synapse.padding;
        const long left = x * synapse.stride - synapse.padding;
        const long lanes = source.lanes, next = source.width + 2l * source.pad;
        const long bytes = (synapse.kernel_w * lanes + 3) & ~3;  // odd shorts have a last weight 0
        *part++ = {source.spikes + stored(source, top, left) * lanes, synapse.stride * lanes,
                   synapse.kernel_h, bytes, next * lanes, at};
        at += synapse.kernel_h * bytes;
    }
    return part;
}

// Where each place of the kernels of a pixel reads its spikes, at steps from `now` on: sources that
// ended before are silent. Returns the steps at which any of the others fires.
uint64_t Stream::lay_taps(const Node& node, long pixel, long now) {
    uint64_t arrivals = 0;
    lasting = steps;
    correction = node.correction;
    wide_end = program.parts;
    constexpr Form FORMS[] = {NARROW, IDENTITY, WIDE};
    for (const Form form : FORMS) {
        long place = 0, at = 0;
        for (int s = 0; s < node.synapses; ++s) {
            const Synapse& synapse = node.synapse[s];
            if (synapse.form != form) continue;
            const Node& source = program.nodes[synapse.source];
            if (form == IDENTITY) {
                arrivals |= source.mask[pixel];
                continue;
            }
            const bool over = source.steps <= now;
            if (!over && source.steps < lasting) lasting = source.steps;
            arrivals |= lay_taps(node, synapse, pixel, over, place, at);
            const long places = long(synapse.kernel_h) * synapse.kernel_w;
            place += places, at += places * synapse.width;
        }
        if (form == NARROW) narrow_end = wide_end;
    }
    return arrivals;
}

// Silence is what lies outside of the image, or has no spike.
uint64_t Stream::lay_taps(const Node& node, const Synapse& synapse, long pixel, bool over,
                          long place, long at) {
    uint64_t arrivals = 0;
    const Node& source = program.nodes[synapse.source];
    const long height = source.height, width = source.width, size = spike_size(source);
    const long step = source.lanes * size, train = source.steps * step;
    const long bytes = synapse.width * size;
    const auto* spikes = source.wide ? reinterpret_cast<const uint8_t*>(source.wide_spikes)
                                     : source.spikes;
    const bool skips = synapse.form == NARROW && node.silent;
    const long top = pixel / node.width * synapse.stride - synapse.padding;
    const long left = pixel % node.width * synapse.stride - synapse.padding;
    const long bottom = top + synapse.kernel_h, right = left + synapse.kernel_w;
    for (long y = top; y < bottom; ++y)
        for (long x = left; x < right; ++x, ++place, at += bytes) {
            const bool outside = over || y < 0 || y >= height || x < 0 || x >= width;
            const uint64_t mask = outside ? 0 : source.mask[y * width + x];
            arrivals |= mask;
            if (mask) *wide_end++ = {spikes + stored(source, y, x) * train, step, 1, bytes, 0, at};
            else if (skips) skip_place(node, place);
            else *wide_end++ = {source.silence, 0, 1, bytes, 0, at};
        }
    return arrivals;
}

// A place that is not read has no offset either.
inline void Stream::skip_place(const Node& node, long place) {
    const int32_t* share = node.silent + place * node.lanes;
    for (long lane = 0; lane < node.lanes; lane += WIDTH)
        store(program.correction + lane, load<Ints>(correction + lane) + load<Ints>(share + lane));
    correction = program.correction;
}

// Rows of WIDE synapses side by side, as `add_wide` reads them.
void Stream::gather_steps(long first, long last) {
    auto* to = reinterpret_cast<uint8_t*>(program.wide_rows);
    for (long t = first; t < last; ++t)
        for (const Part* part = narrow_end; part < wide_end; to += part->bytes, ++part)
            std::memcpy(to, part->from + t * part->step, part->bytes);
}

}  // namespace
}  // namespace native
