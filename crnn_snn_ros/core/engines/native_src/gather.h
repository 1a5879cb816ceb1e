// What comes in: pixels, the carry, and rows of spikes as the products read them.

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

// Pixels as u8, x + 128, interleaved. They are sent at the first time-step only.
void Stream::load_input(const Node& node) {
    if (node.wide) return load_changes(node);
    const long count = pixels(node);
    const uint64_t mask = start == 0;
    if (node.mask[0] != mask)  // from one frame to the next it is mostly the same
        for (long p = 0; p < count; ++p) node.mask[p] = mask;
    if (start > 0) return;
    const int8_t* frame = call.frame + index * node.channels * count;
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

// Note where each tap of a pixel reads: its source, or silence (outside of the image, or a source
// pixel without a spike). Returns the steps at which any of them fired. The input needs no taps.
uint64_t Stream::gather_taps(const Node& node, long pixel) {
    uint64_t arrivals = 0;
    Tap* tap = program.taps;
    const long y = pixel / node.width, x = pixel % node.width;
    for (int s = 0; s < node.synapses; ++s) {
        const Synapse& synapse = node.synapse[s];
        const Node& source = program.nodes[synapse.source];
        if (source.kind == INPUT && !source.wide) {
            arrivals |= start == 0;
            continue;
        }
        const long height = source.height, width = source.width, size = spike_size(source);
        const long step = source.lanes * size, train = source.steps * step;
        const auto* spikes = source.wide ? reinterpret_cast<const uint8_t*>(source.wide_spikes)
                                         : source.spikes;
        const uint64_t* masks = source.mask;
        const Tap silent = {source.silence, 0};
        const long top = y * synapse.stride - synapse.padding;
        const long left = x * synapse.stride - synapse.padding;
        const long bottom = top + synapse.kernel_h, right = left + synapse.kernel_w;
        for (long sy = top; sy < bottom; ++sy)
            for (long sx = left; sx < right; ++sx, ++tap) {
                *tap = silent;
                if (sy < 0 || sy >= height || sx < 0 || sx >= width) continue;
                const long at = sy * width + sx;
                const uint64_t mask = masks[at];
                arrivals |= mask;
                if (mask) *tap = {spikes + at * train, step};
            }
    }
    return arrivals;
}

inline uint8_t* copy(uint8_t* to, const uint8_t* from, long bytes) {  // a multiple of 4
    for (; bytes >= 16; bytes -= 16, to += 16, from += 16) std::memcpy(to, from, 16);
    for (; bytes > 0; bytes -= 4, to += 4, from += 4) std::memcpy(to, from, 4);
    return to;
}

template <int Bytes>
inline uint8_t* copy_taps(uint8_t* to, const Tap* tap, long taps, long t, long bytes) {
    for (long i = 0; i < taps; ++i) {
        const uint8_t* from = tap[i].from + t * tap[i].step;
        if (Bytes) std::memcpy(to, from, Bytes), to += Bytes;
        else to = copy(to, from, bytes);
    }
    return to;
}

// Rows of a kernel lie side by side in the input, which has one time-step only.
uint8_t* Stream::copy_pixels(uint8_t* to, const Node& node, const Synapse& synapse, long pixel,
                             bool now) {
    const Node& source = program.nodes[synapse.source];
    const long width = synapse.width, kernel_w = synapse.kernel_w;
    const long top = pixel / node.width * synapse.stride - synapse.padding;
    const long left = pixel % node.width * synapse.stride - synapse.padding;
    const long first = left < 0 ? -left : 0;  // columns that are inside of the image
    const long last = left + kernel_w > source.width ? source.width - left : kernel_w;
    for (long sy = top; sy < top + synapse.kernel_h; ++sy) {
        if (!now || sy < 0 || sy >= source.height) {
            std::memset(to, source.offset, kernel_w * width);
            to += kernel_w * width;
            continue;
        }
        for (long c = 0; c < first; ++c) to = copy(to, source.silence, width);
        const uint8_t* row = source.spikes + (sy * source.width + left + first) * width;
        to = copy(to, row, (last - first) * width);
        for (long c = last; c < kernel_w; ++c) to = copy(to, source.silence, width);
    }
    return to;
}

void Stream::gather_rows(const Node& node, long pixel, uint64_t arrivals, uint8_t* rows,
                         int32_t* wide_rows) {
    for (; arrivals; arrivals &= arrivals - 1) {
        const long t = __builtin_ctzll(arrivals);
        Tap* tap = program.taps;
        for (int s = 0; s < node.synapses; ++s) {
            const Synapse& synapse = node.synapse[s];
            const Node& source = program.nodes[synapse.source];
            if (source.kind == INPUT && !source.wide) {
                if (synapse.form == NARROW)
                    rows = copy_pixels(rows, node, synapse, pixel, t == 0 && start == 0);
                continue;
            }
            const long taps = long(synapse.kernel_h) * synapse.kernel_w, width = synapse.width;
            const long at = t < source.steps ? t : 0;
            if (t >= source.steps)  // over for good, while another source goes on
                for (long i = 0; i < taps; ++i) tap[i] = {source.silence, 0};
            if (synapse.form == WIDE) {
                auto* to = reinterpret_cast<uint8_t*>(wide_rows);
                copy_taps<0>(to, tap, taps, at, width * sizeof *wide_rows);
                wide_rows += taps * width;
            } else if (synapse.form == NARROW && width == 16) {
                rows = copy_taps<16>(rows, tap, taps, at, width);
            } else if (synapse.form == NARROW && width == 32) {
                rows = copy_taps<32>(rows, tap, taps, at, width);
            } else if (synapse.form == NARROW && width == 64) {
                rows = copy_taps<64>(rows, tap, taps, at, width);
            } else if (synapse.form == NARROW) {
                rows = copy_taps<0>(rows, tap, taps, at, width);
            }
            tap += taps;
        }
    }
}

}  // namespace
}  // namespace native
