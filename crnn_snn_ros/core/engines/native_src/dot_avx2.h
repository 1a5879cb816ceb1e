// Tiles of CPUs with AVX2, with and without its instruction for dot products.

#pragma once
#include "product.h"

namespace native {
namespace {

#if defined(NATIVE_AVXVNNI)
constexpr int TILE_ROWS = 5, TILE_BLOCKS = 1;  // 10 accumulators of 16 registers
#else
constexpr int TILE_ROWS = 6, TILE_BLOCKS = 1;  // 12
#endif

template <Rows Kind>
NATIVE_INLINE __m256i dot(__m256i sum, __m256i x, __m256i w) {
#if defined(NATIVE_AVXVNNI)
    return _mm256_dpbusd_avx_epi32(sum, x, w);
#else
    if (Kind == SHORTS) return _mm256_add_epi32(sum, _mm256_madd_epi16(x, w));
    // maddubs adds two products in int16 and saturates: exact for u8 up to 127. A loud input is
    // split into its lowest bit and the rest, halved.
    const __m256i one = _mm256_set1_epi16(1);
    if (Kind == LOUD) {
        const __m256i half = _mm256_and_si256(_mm256_srli_epi16(x, 1), _mm256_set1_epi8(127));
        const __m256i pairs = _mm256_maddubs_epi16(half, w);
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(2)));
        x = _mm256_and_si256(x, _mm256_set1_epi8(1));
    }
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(x, w), one));
#endif
}

NATIVE_INLINE __m256i load256(const void* at) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(at));
}

template <int R>
NATIVE_INLINE void store_tile(const Product& p, const __m256i (&low)[R], const __m256i (&high)[R]) {
    NATIVE_UNROLL
    for (int r = 0; r < R; ++r) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p.charge + r * p.lanes), low[r]);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p.charge + r * p.lanes + 8), high[r]);
    }
}

template <int R, Rows Kind>
NATIVE_INLINE void tile_by_fours(const Product& p) {
    __m256i low[R], high[R];
    NATIVE_UNROLL
    for (int r = 0; r < R; ++r) low[r] = load256(p.correction), high[r] = load256(p.correction + 8);
    for_each_four(p, [&](const uint8_t* from, long step, const int8_t* weight) {
        const __m256i w_low = load256(weight), w_high = load256(weight + 32);
        NATIVE_UNROLL
        for (int r = 0; r < R; ++r) {
            const __m256i x = _mm256_set1_epi32(four(from + r * step));
            low[r] = dot<Kind>(low[r], x, w_low);
            high[r] = dot<Kind>(high[r], x, w_high);
        }
    });
    store_tile<R>(p, low, high);
}

#if !defined(NATIVE_AVXVNNI)
// Written as the instruction, or GCC 12 takes the sums out of their registers.
NATIVE_INLINE void add_shorts(__m256i& sum, __m256i more) {
    asm("vpaddw %1, %0, %0" : "+x"(sum) : "x"(more));
}

// Add sums of pairs to the charges, and begin new ones.
template <int R>
NATIVE_INLINE void widen(const Product& p, __m256i (&low)[R], __m256i (&high)[R]) {
    const __m256i one = _mm256_set1_epi16(1);
    NATIVE_UNROLL
    for (int r = 0; r < R; ++r) {
        auto* to = reinterpret_cast<__m256i*>(p.charge + r * p.lanes);
        const __m256i wide[] = {_mm256_madd_epi16(low[r], one), _mm256_madd_epi16(high[r], one)};
        _mm256_storeu_si256(to, _mm256_add_epi32(load256(to), wide[0]));
        _mm256_storeu_si256(to + 1, _mm256_add_epi32(load256(to + 1), wide[1]));
        low[r] = high[r] = _mm256_setzero_si256();
    }
}

// Pairs of products are summed in int16 as long as they fit there, and only then widened.
// (Its loops are written out, or GCC 12 takes the sums out of their registers.)
template <int R>
NATIVE_INLINE void tile_by_pairs(const Product& p) {
    for (int r = 0; r < R; ++r)
        std::memcpy(p.charge + r * p.lanes, p.correction, LANES * sizeof *p.charge);
    __m256i low[R] = {}, high[R] = {};
    long free = 4 * p.fours;
    for (const Part* part = p.parts; part < p.parts_end; ++part) {
        const long step = part->step, bytes = part->bytes;
        const uint8_t* line = part->from + p.row * step;
        const int8_t* weight = p.weight + part->at * LANES;
        for (long segment = part->segments; segment > 0; --segment, line += part->stride) {
            const uint8_t* from = line;
            for (long left = bytes; left > 0;) {
                const long run = left < free ? left : free;
                const int8_t* const end = weight + run * LANES;
                do {
                    const __m256i w_low = load256(weight), w_high = load256(weight + 32);
                    NATIVE_UNROLL
                    for (int r = 0; r < R; ++r) {
                        const __m256i x = _mm256_set1_epi32(four(from + r * step));
                        add_shorts(low[r], _mm256_maddubs_epi16(x, w_low));
                        add_shorts(high[r], _mm256_maddubs_epi16(x, w_high));
                    }
                    from += 4, weight += 4 * LANES;
                    asm("" : "+r"(from), "+r"(weight));  // or they are computed again behind
                } while (weight < end);
                left -= run, free -= run;
                if (free == 0) widen<R>(p, low, high), free = 4 * p.fours;
            }
        }
    }
    widen<R>(p, low, high);
}

// x - 128 = sign * |x - 128|: the product of its magnitude and the weight with its sign.
NATIVE_INLINE __m256i dot_centred(__m256i sum, __m256i x, __m256i w) {
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(w, x));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

template <int R>
NATIVE_INLINE void tile_centred(const Product& p) {
    __m256i low[R], high[R];
    NATIVE_UNROLL
    for (int r = 0; r < R; ++r) low[r] = load256(p.correction), high[r] = load256(p.correction + 8);
    for_each_four(p, [&](const uint8_t* from, long step, const int8_t* weight) {
        const __m256i w_low = load256(weight), w_high = load256(weight + 32);
        NATIVE_UNROLL
        for (int r = 0; r < R; ++r) {
            const __m256i x = _mm256_set1_epi32(four(from + r * step) ^ int32_t(0x80808080));
            low[r] = dot_centred(low[r], x, w_low);
            high[r] = dot_centred(high[r], x, w_high);
        }
    });
    store_tile<R>(p, low, high);
}
#endif

template <int R, int B, Rows Kind>
void tile(const Product& p) {
#if !defined(NATIVE_AVXVNNI)
    if constexpr (Kind == QUIET) return tile_by_pairs<R>(p);
    if constexpr (Kind == CENTRED) return tile_centred<R>(p);
#endif
    tile_by_fours<R, Kind>(p);
}

}  // namespace
}  // namespace native
