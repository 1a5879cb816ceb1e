// WIDTH neurons at once, one vector register of the CPU, in the notation that GCC and Clang share.

#pragma once
#include <cstring>

#include "program.h"

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

typedef int32_t Ints __attribute__((vector_size(4 * WIDTH)));
typedef float Floats __attribute__((vector_size(4 * WIDTH)));
typedef int16_t Shorts __attribute__((vector_size(2 * WIDTH)));
typedef uint8_t Bytes __attribute__((vector_size(WIDTH)));

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

// Store spikes in {-1, 0, +1} as u8; whether there is any.
NATIVE_INLINE bool store_spikes(uint8_t* at, Ints spike) {
    const Bytes bytes = __builtin_convertvector(spike + 1, Bytes);
    store(at, bytes);
    const Bytes silence = Bytes{} + 1;
    return std::memcmp(&bytes, &silence, sizeof bytes) != 0;
}

}  // namespace
}  // namespace native
