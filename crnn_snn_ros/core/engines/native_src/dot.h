// charge[row][block] = correction + rows x weights: u8 times s8 into int32, exact.
//
// With dot_avx2.h the one place where products are a particular CPU's. A tile keeps R rows of B
// blocks in registers and goes through the inputs four at a time.

#pragma once
#include "product.h"
#if defined(NATIVE_AVXVNNI) || defined(NATIVE_AVX2)
#include "dot_avx2.h"
#elif defined(NATIVE_NEONDOT)
#include <arm_neon.h>
#endif

namespace native {
namespace {

constexpr int QUIET_TOP = 127;  // largest value of a quiet row
#if defined(NATIVE_AVX2)
constexpr bool CENTRES = true;  // loud rows
#else
constexpr bool CENTRES = false;
#endif

#if defined(NATIVE_AVX512VNNI)
constexpr int TILE_ROWS = 12, TILE_BLOCKS = 2;  // 24 accumulators of 32 registers

template <int R, int B, Rows Kind>
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

#elif defined(NATIVE_NEONDOT)
constexpr int TILE_ROWS = 5, TILE_BLOCKS = 1;  // 20 accumulators of 32 registers
constexpr int QUARTERS = LANES / 4;            // registers of a block

template <int R, int B, Rows Kind>
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
            if (Kind == LOUD) x = vandq_u8(x, vdupq_n_u8(1));
            NATIVE_UNROLL
            for (int q = 0; q < QUARTERS; ++q) {
                sum[r][q] = vdotq_s32(sum[r][q], vreinterpretq_s8_u8(x), w[q]);
                if (Kind == LOUD) sum[r][q] = vdotq_s32(vdotq_s32(sum[r][q], half, w[q]), half, w[q]);
            }
        }
    });
    NATIVE_UNROLL
    for (int r = 0; r < R; ++r)
        NATIVE_UNROLL
        for (int q = 0; q < QUARTERS; ++q) vst1q_s32(p.charge + r * p.lanes + 4 * q, sum[r][q]);
}

#elif !defined(NATIVE_AVXVNNI) && !defined(NATIVE_AVX2)
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

template <int R, int B, Rows Kind>
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
template <int R, int B, Rows Kind>
void tile_of(const Product& p, long rows) {
    if constexpr (R > 0) {
        if (rows == R) tile<R, B, Kind>(p);
        else tile_of<R - 1, B, Kind>(p, rows);
    }
}

// More rows than a tile holds, but fewer than two, are divided evenly.
template <int B, Rows Kind>
void panel(Product p, long rows) {
    while (rows > 0) {
        const long some = rows >= 2 * TILE_ROWS ? TILE_ROWS
                          : rows > TILE_ROWS   ? (rows + 1) / 2
                                               : rows;
        tile_of<TILE_ROWS, B, Kind>(p, some);
        p.row += some;
        p.charge += some * p.lanes;
        rows -= some;
    }
}

template <Rows Kind>
void multiply_all(Product p, long rows, int blocks) {
    for (; blocks >= TILE_BLOCKS; blocks -= TILE_BLOCKS) {
        panel<TILE_BLOCKS, Kind>(p, rows);
        p.weight += TILE_BLOCKS * p.panel;
        p.correction += TILE_BLOCKS * LANES;
        p.charge += TILE_BLOCKS * LANES;
    }
    if (blocks > 0) panel<1, Kind>(p, rows);
}

// Of rows `first` on, as many as `count`.
inline void multiply(const Node& node, const Part* parts, const Part* parts_end, long first,
                     long count, const int32_t* correction, int32_t* charge) {
    Product p{parts, parts_end, long(node.row_bytes) * LANES, node.weight,
              correction, charge, node.lanes, first, node.fours};
    if constexpr (CENTRES) {
        if (node.shorts) return multiply_all<SHORTS>(p, count, node.blocks);
        if (node.top > QUIET_TOP && node.centred) {
            p.correction = node.centred;
            return multiply_all<CENTRED>(p, count, node.blocks);
        }
    }
    if (node.top > QUIET_TOP) multiply_all<LOUD>(p, count, node.blocks);
    else multiply_all<QUIET>(p, count, node.blocks);
}

}  // namespace
}  // namespace native
