// WIDTH neurons at once, one vector register of the CPU, in the notation that GCC and Clang share;
// and blocks of LANES neurons, which are PARTS of them.

#pragma once
#include <cstring>

#include "program.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#pragma GCC diagnostic ignored "-Wpsabi"  // of how vectors are passed; all of it is inlined

namespace native {
namespace {

#if defined(NATIVE_AVX512VNNI)
constexpr int WIDTH = 16;
#elif defined(NATIVE_AVXVNNI) || defined(NATIVE_AVX2)
constexpr int WIDTH = 8;
#else
constexpr int WIDTH = 4;
#endif
static_assert(LANES % WIDTH == 0);
constexpr int PARTS = LANES / WIDTH;

typedef int32_t Ints __attribute__((vector_size(4 * WIDTH)));
typedef float Floats __attribute__((vector_size(4 * WIDTH)));
typedef int16_t Shorts __attribute__((vector_size(2 * WIDTH)));
typedef uint8_t Bytes __attribute__((vector_size(WIDTH)));
typedef int16_t ShortBlock __attribute__((vector_size(2 * LANES)));
typedef uint8_t ByteBlock __attribute__((vector_size(LANES)));

// Accumulators stay in registers only if the loops over them are gone early.
#define NATIVE_UNROLL _Pragma("GCC unroll 16")
#define NATIVE_INLINE static inline __attribute__((always_inline))

template <class Vector, class Value>
NATIVE_INLINE Vector load(const Value* at) {
    Vector vector;
    std::memcpy(&vector, at, sizeof vector);
    return vector;
}

template <class Vector, class Value>
NATIVE_INLINE void store(Value* at, Vector vector) {
    std::memcpy(at, &vector, sizeof vector);
}

NATIVE_INLINE Ints to_ints(Floats values) { return __builtin_convertvector(values, Ints); }
NATIVE_INLINE Floats to_floats(Ints values) { return __builtin_convertvector(values, Floats); }

// To wider and to narrower values, which fit: GCC 12 moves them one by one if it is asked for a
// conversion on AVX2.
NATIVE_INLINE Ints widened(Ints values) { return values; }
#if defined(NATIVE_AVXVNNI) || defined(NATIVE_AVX2)
NATIVE_INLINE Ints widened(Bytes values) {
    return (Ints)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)&values));
}
NATIVE_INLINE Ints widened(Shorts values) { return (Ints)_mm256_cvtepi16_epi32((__m128i)values); }
NATIVE_INLINE Shorts to_shorts(Ints values) {
    const auto all = (__m256i)values;
    return (Shorts)_mm_packs_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
}
NATIVE_INLINE Bytes to_bytes(Ints values) {
    const auto shorts = (__m128i)to_shorts(values);
    const __m128i bytes = _mm_packus_epi16(shorts, shorts);
    return load<Bytes>(&bytes);
}
NATIVE_INLINE ByteBlock to_bytes(ShortBlock values) {
    const auto all = (__m256i)values;
    return (ByteBlock)_mm_packus_epi16(_mm256_castsi256_si128(all),
                                       _mm256_extracti128_si256(all, 1));
}
NATIVE_INLINE ByteBlock to_bytes(const Ints (&values)[PARTS]) {
    const auto first = (__m128i)to_shorts(values[0]), second = (__m128i)to_shorts(values[1]);
    return (ByteBlock)_mm_packus_epi16(first, second);
}
#else
NATIVE_INLINE Ints widened(Bytes values) { return __builtin_convertvector(values, Ints); }
NATIVE_INLINE Ints widened(Shorts values) { return __builtin_convertvector(values, Ints); }
NATIVE_INLINE Shorts to_shorts(Ints values) { return __builtin_convertvector(values, Shorts); }
NATIVE_INLINE Bytes to_bytes(Ints values) { return __builtin_convertvector(values, Bytes); }
NATIVE_INLINE ByteBlock to_bytes(ShortBlock values) {
    return __builtin_convertvector(values, ByteBlock);
}
NATIVE_INLINE ByteBlock to_bytes(const Ints (&values)[PARTS]) {
    ByteBlock block;
    for (int part = 0; part < PARTS; ++part) {
        const Bytes bytes = to_bytes(values[part]);
        std::memcpy(reinterpret_cast<uint8_t*>(&block) + part * WIDTH, &bytes, sizeof bytes);
    }
    return block;
}
#endif

// WIDTH values of a block.
NATIVE_INLINE Ints part_of(ByteBlock block, int part) {
    return widened(load<Bytes>(reinterpret_cast<uint8_t*>(&block) + part * WIDTH));
}
NATIVE_INLINE Ints part_of(ShortBlock block, int part) {
    return widened(load<Shorts>(reinterpret_cast<int16_t*>(&block) + part * WIDTH));
}

// A value, its negative or 0, by the sign of a spike.
NATIVE_INLINE Ints signed_by(Ints value, Ints spike) {
#if defined(NATIVE_AVXVNNI) || defined(NATIVE_AVX2)
    return (Ints)_mm256_sign_epi32((__m256i)value, (__m256i)spike);
#else
    return (value & (spike > 0)) - (value & (spike < 0));
#endif
}

// Whether any of the spikes of a block, sent as s + 1, is not 0.
NATIVE_INLINE bool fires(ByteBlock sent) {
#if defined(__x86_64__)
    const __m128i silent = _mm_cmpeq_epi8((__m128i)sent, _mm_set1_epi8(1));
    return _mm_movemask_epi8(silent) != 0xffff;
#else
    const ByteBlock silence = ByteBlock{} + 1;
    return std::memcmp(&sent, &silence, sizeof sent) != 0;
#endif
}

}  // namespace
}  // namespace native
