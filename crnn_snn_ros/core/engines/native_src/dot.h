// charge[row][block] = correction + rows x weights: u8 times s8 into int32, exact.
//
// The one place with instructions of a particular CPU. A tile keeps R rows of B blocks in registers
// and goes through the inputs four at a time.

#pragma once
#include "lanes.h"
#if defined(NATIVE_AVX512VNNI) || defined(NATIVE_AVXVNNI) || defined(NATIVE_AVX2)
#include <immintrin.h>
#elif defined(NATIVE_NEONDOT)
#include <arm_neon.h>
#endif

namespace native {
namespace {

constexpr int QUIET = 127;  // what fits into s8 as well: largest value of a row that is not loud

struct Product {
    const Part* parts;
    const Part* parts_end;
    long panel;            // bytes of one block's weights
    const int8_t* weight;  // of the first block
    const int32_t* correction;
    int32_t* charge;  // of row `row`
    long lanes;       // of a row of `charge`
    long row;
    long fours;       // see `Node`
};

inline int32_t four(const uint8_t* at) {
    int32_t word;
    std::memcpy(&word, at, sizeof word);
    return word;
}

// Call `add(stretch of the tile's first row, its bytes, bytes to the next row, weights)` for each
// stretch of a row.
template <class Add>
NATIVE_INLINE void for_each_stretch(const Product& p, Add add) {
    const int8_t* weight = p.weight;
    for (const Part* part = p.parts; part < p.parts_end; ++part) {
        const long step = part->step, bytes = part->bytes;
        const uint8_t* from = part->from + p.row * step;
        for (long left = part->segments; left > 0; --left, from += part->stride) {
            add(from, bytes, step, weight);
            weight += bytes * LANES;
        }
    }
}

// Call `add(inputs of the tile's first row, bytes to the next row, weights)` for each four inputs.
template <class Add>
NATIVE_INLINE void for_each_four(const Product& p, Add add) {
    for_each_stretch(p, [&](const uint8_t* from, long bytes, long step, const int8_t* weight) {
        for (long i = 0; i < bytes; i += 4, weight += 4 * LANES) add(from + i, step, weight);
    });
}

#if defined(NATIVE_AVX512VNNI)
constexpr int TILE_ROWS = 12, TILE_BLOCKS = 2;  // 24 accumulators of 32 registers

template <int R, int B, bool Loud>
void tile(const Product& p) {
    __m512i sum[R][B];
    NATIVE_UNROLL
    for (int b = 0; b < B; ++b) {
        const __m512i first = _mm512_loadu_si512(p.correction + b * LANES);
        NATIVE_UNROLL
        for (int r = 0; r < R; ++r) sum[r][b] = first;
    }
    for_each_four(p, [&](const uint8_t* from, long step, const int8_t* weight) {
        __m512i w[B];
        NATIVE_UNROLL
        for (int b = 0; b < B; ++b) w[b] = _mm512_loadu_si512(weight + b * p.panel);
        NATIVE_UNROLL
        for (int r = 0; r < R; ++r) {
            const __m512i x = _mm512_set1_epi32(four(from + r * step));
            NATIVE_UNROLL
            for (int b = 0; b < B; ++b) sum[r][b] = _mm512_dpbusd_epi32(sum[r][b], x, w[b]);
        }
    });
    NATIVE_UNROLL
    for (int r = 0; r < R; ++r)
        NATIVE_UNROLL
        for (int b = 0; b < B; ++b)
            _mm512_storeu_si512(p.charge + r * p.lanes + b * LANES, sum[r][b]);
}

#elif defined(NATIVE_AVXVNNI) || defined(NATIVE_AVX2)
constexpr int TILE_ROWS = 6, TILE_BLOCKS = 1;  // 12 accumulators of 16 registers

template <bool Loud>
inline __m256i dot(__m256i sum, __m256i x, __m256i w) {
#if defined(NATIVE_AVXVNNI)
    return _mm256_dpbusd_avx_epi32(sum, x, w);
#else
    // maddubs adds two products in int16 and saturates: exact for u8 up to 127. A loud input is
    // split into its lowest bit and the rest, halved.
    const __m256i one = _mm256_set1_epi16(1);
    if (Loud) {
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

template <int R, bool Loud>
NATIVE_INLINE void tile_by_fours(const Product& p) {
    __m256i low[R], high[R];
    NATIVE_UNROLL
    for (int r = 0; r < R; ++r) low[r] = load256(p.correction), high[r] = load256(p.correction + 8);
    for_each_four(p, [&](const uint8_t* from, long step, const int8_t* weight) {
        const __m256i w_low = load256(weight), w_high = load256(weight + 32);
        NATIVE_UNROLL
        for (int r = 0; r < R; ++r) {
            const __m256i x = _mm256_set1_epi32(four(from + r * step));
            low[r] = dot<Loud>(low[r], x, w_low);
            high[r] = dot<Loud>(high[r], x, w_high);
        }
    });
    NATIVE_UNROLL
    for (int r = 0; r < R; ++r) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p.charge + r * p.lanes), low[r]);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p.charge + r * p.lanes + 8), high[r]);
    }
}

#if !defined(NATIVE_AVXVNNI)
// Written as the instruction, or GCC 12 takes the sums out of their registers.
NATIVE_INLINE void add_shorts(__m256i& sum, __m256i more) {
    asm("vpaddw %1, %0, %0" : "+x"(sum) : "x"(more));
}

// Pairs of products are summed in int16 as long as they fit there, and only then widened.
template <int R>
NATIVE_INLINE void tile_by_pairs(const Product& p) {
    const __m256i one = _mm256_set1_epi16(1);
    for (int r = 0; r < R; ++r)
        std::memcpy(p.charge + r * p.lanes, p.correction, LANES * sizeof *p.charge);
    for_each_stretch(p, [&](const uint8_t* from, long bytes, long step, const int8_t* weight) {
        for (long left = bytes; left > 0;) {
            __m256i low[R] = {}, high[R] = {};
            const long run = left < 4 * p.fours ? left : 4 * p.fours;
            for (const uint8_t* end = from + run; from < end; from += 4, weight += 4 * LANES) {
                const __m256i w_low = load256(weight), w_high = load256(weight + 32);
                NATIVE_UNROLL
                for (int r = 0; r < R; ++r) {
                    const __m256i x = _mm256_set1_epi32(four(from + r * step));
                    add_shorts(low[r], _mm256_maddubs_epi16(x, w_low));
                    add_shorts(high[r], _mm256_maddubs_epi16(x, w_high));
                }
            }
            left -= run;
            NATIVE_UNROLL
            for (int r = 0; r < R; ++r) {
                auto* to = reinterpret_cast<__m256i*>(p.charge + r * p.lanes);
                const __m256i wide[] = {_mm256_madd_epi16(low[r], one),
                                        _mm256_madd_epi16(high[r], one)};
                _mm256_storeu_si256(to, _mm256_add_epi32(load256(to), wide[0]));
                _mm256_storeu_si256(to + 1, _mm256_add_epi32(load256(to + 1), wide[1]));
            }
        }
    });
}
#endif

template <int R, int B, bool Loud>
void tile(const Product& p) {
#if !defined(NATIVE_AVXVNNI)
    if constexpr (!Loud) return tile_by_pairs<R>(p);
#endif
    tile_by_fours<R, Loud>(p);
}

#elif defined(NATIVE_NEONDOT)
constexpr int TILE_ROWS = 5, TILE_BLOCKS = 1;  // 20 accumulators of 32 registers
constexpr int QUARTERS = LANES / 4;            // registers of a block

template <int R, int B, bool Loud>
void tile(const Product& p) {
    int32x4_t sum[R][QUARTERS];
    NATIVE_UNROLL
    for (int r = 0; r < R; ++r)
        NATIVE_UNROLL
        for (int q = 0; q < QUARTERS; ++q) sum[r][q] = vld1q_s32(p.correction + 4 * q);
    for_each_four(p, [&](const uint8_t* from, long step, const int8_t* weight) {
        int8x16_t w[QUARTERS];
        NATIVE_UNROLL
        for (int q = 0; q < QUARTERS; ++q) w[q] = vld1q_s8(weight + 16 * q);
        NATIVE_UNROLL
        for (int r = 0; r < R; ++r) {
            uint8x16_t x = vreinterpretq_u8_s32(vdupq_n_s32(four(from + r * step)));
            // The instruction takes s8: right for u8 up to 127. A loud input is split into its
            // lowest bit and twice its half.
            const int8x16_t half = vreinterpretq_s8_u8(vshrq_n_u8(x, 1));
            if (Loud) x = vandq_u8(x, vdupq_n_u8(1));
            NATIVE_UNROLL
            for (int q = 0; q < QUARTERS; ++q) {
                sum[r][q] = vdotq_s32(sum[r][q], vreinterpretq_s8_u8(x), w[q]);
                if (Loud) sum[r][q] = vdotq_s32(vdotq_s32(sum[r][q], half, w[q]), half, w[q]);
            }
        }
    });
    NATIVE_UNROLL
    for (int r = 0; r < R; ++r)
        NATIVE_UNROLL
        for (int q = 0; q < QUARTERS; ++q) vst1q_s32(p.charge + r * p.lanes + 4 * q, sum[r][q]);
}

#else
constexpr int TILE_ROWS = 4, TILE_BLOCKS = 1;

// A function by itself: inlined into the loops over parts it took a third longer (GCC 12).
__attribute__((noinline)) void add_stretch(int32_t* total, const uint8_t* from, long bytes,
                                           const int8_t* weight) {
    int32_t sum[LANES];
    std::memcpy(sum, total, sizeof sum);
    for (long i = 0; i < bytes; i += 4, weight += 4 * LANES)
        for (int n = 0; n < LANES; ++n)
            for (int k = 0; k < 4; ++k) sum[n] += from[i + k] * weight[4 * n + k];
    std::memcpy(total, sum, sizeof sum);
}

template <int R, int B, bool Loud>
void tile(const Product& p) {
    for (int r = 0; r < R; ++r) {
        int32_t* const sum = p.charge + r * p.lanes;
        std::memcpy(sum, p.correction, LANES * sizeof *sum);
        for_each_stretch(p, [&](const uint8_t* from, long bytes, long step, const int8_t* weight) {
            add_stretch(sum, from + r * step, bytes, weight);
        });
    }
}
#endif

// A tile of exactly that height.
template <int R, int B, bool Loud>
void tile_of(const Product& p, long rows) {
    if constexpr (R > 0) {
        if (rows == R) tile<R, B, Loud>(p);
        else tile_of<R - 1, B, Loud>(p, rows);
    }
}

// More rows than a tile holds, but fewer than two, are divided evenly.
template <int B, bool Loud>
void panel(Product p, long rows) {
    while (rows > 0) {
        const long some = rows >= 2 * TILE_ROWS ? TILE_ROWS
                          : rows > TILE_ROWS   ? (rows + 1) / 2
                                               : rows;
        tile_of<TILE_ROWS, B, Loud>(p, some);
        p.row += some;
        p.charge += some * p.lanes;
        rows -= some;
    }
}

template <bool Loud>
void multiply_all(Product p, long rows, int blocks) {
    for (; blocks >= TILE_BLOCKS; blocks -= TILE_BLOCKS) {
        panel<TILE_BLOCKS, Loud>(p, rows);
        p.weight += TILE_BLOCKS * p.panel;
        p.correction += TILE_BLOCKS * LANES;
        p.charge += TILE_BLOCKS * LANES;
    }
    if (blocks > 0) panel<1, Loud>(p, rows);
}

inline void multiply(const Node& node, const Part* parts, int part_count, long count,
                     int32_t* charge) {
    const Product p{parts, parts + part_count, long(node.row_bytes) * LANES, node.weight,
                    node.correction, charge, node.lanes, 0, node.fours};
    if (node.top > QUIET) multiply_all<true>(p, count, node.blocks);
    else multiply_all<false>(p, count, node.blocks);
}

}  // namespace
}  // namespace native
