// Pools of spike trains, within one chunk of time-steps.

#pragma once
#include "lanes.h"

namespace native {
namespace {

// A window of a pool in its source, cut at the image's border.
struct Window {
    long top, bottom, left, right;

    Window(const Node& pool, const Node& source, long y, long x) {
        top = y * pool.stride - pool.padding, left = x * pool.stride - pool.padding;
        bottom = top + pool.kernel_h, right = left + pool.kernel_w;
        if (pool.kind == SUM_POOL) {  // windows side by side, maybe not square
            top = y * pool.kernel_h, left = x * pool.kernel_w;
            bottom = top + pool.kernel_h, right = left + pool.kernel_w;
        }
        if (top < 0) top = 0;
        if (left < 0) left = 0;
        if (bottom > source.height) bottom = source.height;
        if (right > source.width) right = source.width;
    }

    uint64_t mask(const Node& source) const {
        uint64_t all = 0;
        for (long y = top; y < bottom; ++y)
            for (long x = left; x < right; ++x) all |= source.mask[y * source.width + x];
        return all;
    }
};

// The sum of one window at one step. Values are u8 with the source's offset, whose sum is the
// pool's own offset; or int32, where that would not fit.
inline void sum_window(const Node& pool, const Node& source, const Window& window, long t,
                       long to) {
    for (long c = 0; c < pool.lanes; ++c) {
        int32_t sum = 0;
        for (long y = window.top; y < window.bottom; ++y)
            for (long x = window.left; x < window.right; ++x) {
                const long pixel = y * source.width + x;
                if (!(source.mask[pixel] >> t & 1)) {
                    sum += pool.wide ? 0 : source.offset;
                    continue;
                }
                const long at = (pixel * source.steps + t) * source.lanes + c;
                if (source.wide) sum += source.wide_spikes[at];
                else sum += pool.wide ? source.spikes[at] - source.offset : source.spikes[at];
            }
        if (pool.wide) pool.wide_spikes[to + c] = sum;
        else pool.spikes[to + c] = uint8_t(sum);
    }
}

inline void sum_pool(const Node& pool, const Node& source, long steps) {
    const long end = steps < pool.steps ? steps : pool.steps;
    for (long y = 0, pixel = 0; y < pool.height; ++y)
        for (long x = 0; x < pool.width; ++x, ++pixel) {
            const Window window(pool, source, y, x);
            const uint64_t mask = window.mask(source);
            pool.mask[pixel] = mask;
            if (!mask) continue;
            for (long t = 0; t < end; ++t) {
                const long to = (pixel * pool.steps + t) * pool.lanes;
                if (mask >> t & 1) sum_window(pool, source, window, t, to);
                else if (pool.wide) std::memset(pool.wide_spikes + to, 0, 4 * pool.lanes);
                else std::memset(pool.spikes + to, pool.offset, pool.lanes);
            }
        }
}

// The same of whole counts: [pixel][channel] of the source -> of the pool.
inline void add_windows(const Node& pool, const Node& source, const int32_t* in, int32_t* out) {
    for (long y = 0; y < pool.height; ++y)
        for (long x = 0; x < pool.width; ++x) {
            const Window window(pool, source, y, x);
            for (long c = 0; c < pool.channels; ++c) {
                int32_t sum = 0;
                for (long sy = window.top; sy < window.bottom; ++sy)
                    for (long sx = window.left; sx < window.right; ++sx)
                        sum += in[(sy * source.width + sx) * source.channels + c];
                *out++ = sum;
            }
        }
}

// Largest spike count in a window after step t. A source pixel that is silent in this chunk keeps
// its count in the first entry of its tracer.
NATIVE_INLINE ShortBlock largest(const Node& source, const Window& window, long t, long lane) {
    ShortBlock most = ShortBlock{} - 0x7fff;
    for (long y = window.top; y < window.bottom; ++y)
        for (long x = window.left; x < window.right; ++x) {
            const long pixel = y * source.width + x;
            const long step = source.mask[pixel] ? t : 0;
            const auto count = load<ShortBlock>(
                source.tracer + (pixel * source.steps + step) * source.lanes + lane);
            most = count > most ? count : most;
        }
    return most;
}

// A block of one pixel, from lane `at` of all. Returns the steps at which it fired.
inline uint64_t max_pool_block(const Node& pool, const Node& source, const Window& window,
                               uint64_t mask, long steps, bool first, long at, long row,
                               float* results) {
    const long lane = at % pool.lanes;
    float* const counts = results + pool.counts_at + at;
    float* const activity = results + pool.activity_at + at;
    ShortBlock count = {};
    for (int i = 0; i < PARTS && !first; ++i)
        store(reinterpret_cast<int16_t*>(&count) + i * WIDTH,
              to_shorts(to_ints(load<Floats>(counts + i * WIDTH))));
    ByteBlock fired = {};
    uint64_t steps_fired = 0;
    for (long t = 0; t < steps; ++t, row += pool.lanes) {
        ByteBlock sent = ByteBlock{} + 1;  // spike + 1
        if (mask >> t & 1) {
            const ShortBlock now = largest(source, window, t, lane);
            sent = to_bytes(now - count + 1);
            count = now;
        }
        store(pool.spikes + row, sent);
        fired -= ByteBlock(sent != 1);  // a true lane is -1
        steps_fired |= uint64_t(fires(sent)) << t;
        if (pool.tracer) store(pool.tracer + row, count);
    }
    for (int i = 0; i < PARTS; ++i) {
        const Floats before = first ? Floats{} : load<Floats>(activity + i * WIDTH);
        store(activity + i * WIDTH, before + to_floats(part_of(fired, i)));
        store(counts + i * WIDTH, to_floats(part_of(count, i)));
    }
    return steps_fired;
}

// The largest spike count of each window, sent as differences: in {-1, 0, +1}, without delay.
inline void max_pool(const Node& pool, const Node& source, long steps, bool first,
                     float* results) {
    const long end = steps < pool.steps ? steps : pool.steps;
    for (long y = 0, pixel = 0; y < pool.height; ++y)
        for (long x = 0; x < pool.width; ++x, ++pixel) {
            const Window window(pool, source, y, x);
            const uint64_t mask = window.mask(source);
            if (!mask && !first && !pool.mask[pixel]) continue;  // silent, as in the last chunk
            uint64_t fired = 0;
            for (long lane = 0; lane < pool.lanes; lane += LANES)
                fired |= max_pool_block(pool, source, window, mask, end, first,
                                        pixel * pool.lanes + lane,
                                        pixel * pool.steps * pool.lanes + lane, results);
            pool.mask[pixel] = fired;
        }
}

}  // namespace
}  // namespace native
