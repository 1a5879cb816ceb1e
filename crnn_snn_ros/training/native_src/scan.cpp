// The recurrence of an IndRNN layer over a whole sequence, forward and backward, in one pass each.
//
// Streams one after another, frames in order, channels in the inner loop, which the compiler turns
// into vectors. Sums and products are rounded one by one (no contraction to fused ones), so that
// the results are those of the same steps in torch.

#include <cmath>
#include <cstdint>

#if defined(__x86_64__) && defined(__GNUC__)
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CLONES
#endif
#define EXPORT extern "C" __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))

namespace {

struct Scan {
    int64_t streams, frames, channels;
    const float* recurrent;  // (channels)
    const float* threshold;  // (channels), or null: real activations
    float low, high;         // of an activation
    float below;             // a real charge passes a gradient if it is over this, and not over high
};

// What one frame leaves: states, and where a gradient passes.
template <bool COUNTS>
INLINE void step(const Scan& scan, const float* __restrict charge, const float* __restrict before,
                 float* __restrict state, uint8_t* __restrict inside) {
    const float low = scan.low, high = scan.high, below = scan.below;
    const float* __restrict recurrent = scan.recurrent;
    const float* __restrict threshold = scan.threshold;
    for (int64_t c = 0; c < scan.channels; ++c) {
        float value = charge[c] + recurrent[c] * before[c];
        bool passes;
        if (COUNTS) {
            value = std::floor((value + std::floor(threshold[c] * 0.5f)) / threshold[c]);
            passes = (value >= low) & (value <= high);
        } else {
            passes = (value > below) & (value <= high);
        }
        inside[c] = passes;
        value = value < low ? low : value;
        state[c] = value > high ? high : value;
    }
}

// The gradient of one frame's charge, from that of its state and of the next frame's charge.
template <bool COUNTS>
INLINE void step_back(const Scan& scan, const float* __restrict grad,
                      const float* __restrict next, const float* __restrict before,
                      const uint8_t* __restrict inside, float* __restrict out,
                      float* __restrict grad_recurrent) {
    const float* __restrict recurrent = scan.recurrent;
    const float* __restrict threshold = scan.threshold;
    for (int64_t c = 0; c < scan.channels; ++c) {
        float value = grad[c] + recurrent[c] * next[c];
        value = inside[c] ? value : 0.0f;
        if (COUNTS) value /= threshold[c];
        out[c] = value;
        grad_recurrent[c] += value * before[c];
    }
}

template <bool COUNTS>
INLINE void forward(const Scan& scan, const float* charge, const float* first, float* states,
                    uint8_t* inside) {
    for (int64_t n = 0; n < scan.streams; ++n) {
        const float* before = first + n * scan.channels;
        for (int64_t t = 0; t < scan.frames; ++t) {
            const int64_t at = (n * scan.frames + t) * scan.channels;
            step<COUNTS>(scan, charge + at, before, states + at, inside + at);
            before = states + at;
        }
    }
}

template <bool COUNTS>
INLINE void backward(const Scan& scan, const float* grad, const float* first, const float* states,
                     const uint8_t* inside, const float* zeros, float* out,
                     float* grad_recurrent) {
    for (int64_t n = 0; n < scan.streams; ++n) {
        const float* next = zeros;
        for (int64_t t = scan.frames - 1; t >= 0; --t) {
            const int64_t at = (n * scan.frames + t) * scan.channels;
            const float* before = t ? states + at - scan.channels : first + n * scan.channels;
            step_back<COUNTS>(scan, grad + at, next, before, inside + at, out + at,
                              grad_recurrent + n * scan.channels);
            next = out + at;
        }
    }
}

}  // namespace

// charge, states, inside: (streams, frames, channels); first: (streams, channels).
EXPORT CLONES void scan_forward(const Scan* scan, const float* charge, const float* first,
                                float* states, uint8_t* inside) {
    if (scan->threshold) return forward<true>(*scan, charge, first, states, inside);
    forward<false>(*scan, charge, first, states, inside);
}

// zeros: (channels); out as charge; grad_recurrent: (streams, channels), zero to begin with.
EXPORT CLONES void scan_backward(const Scan* scan, const float* grad, const float* first,
                                 const float* states, const uint8_t* inside, const float* zeros,
                                 float* out, float* grad_recurrent) {
    if (scan->threshold)
        return backward<true>(*scan, grad, first, states, inside, zeros, out, grad_recurrent);
    backward<false>(*scan, grad, first, states, inside, zeros, out, grad_recurrent);
}
