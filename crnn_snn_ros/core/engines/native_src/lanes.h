// Sixteen neurons at once, in the vector notation that GCC and Clang share: on every CPU it becomes
// what the CPU has.

#pragma once
#include <cstring>

#include "program.h"

namespace native {
namespace {

typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int16_t Shorts __attribute__((vector_size(2 * LANES)));
typedef uint8_t Bytes __attribute__((vector_size(LANES)));

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
    uint64_t words[2];
    std::memcpy(words, &bytes, sizeof words);
    constexpr uint64_t silence = 0x0101010101010101u;
    return (words[0] ^ silence) | (words[1] ^ silence);
}

}  // namespace
}  // namespace native
