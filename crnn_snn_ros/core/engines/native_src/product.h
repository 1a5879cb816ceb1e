// What a product of rows and weights is given, and how it goes through them.

#pragma once
#include "lanes.h"

namespace native {
namespace {

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

// What rows hold: u8 that fits into s8 as well, or any; u8 that is to be read as x - 128; int16,
// two to a weight's four bytes.
enum Rows { QUIET, LOUD, CENTRED, SHORTS };

inline int32_t four(const uint8_t* at) {
    int32_t word;
    std::memcpy(&word, at, sizeof word);
    return word;
}

// Call `add(stretch of the tile's first row, its bytes, bytes to the next row, weights)` for each
// stretch of a row.
template <class Add>
NATIVE_INLINE void for_each_stretch(const Product& p, Add add) {
    for (const Part* part = p.parts; part < p.parts_end; ++part) {
        const long step = part->step, bytes = part->bytes;
        const int8_t* weight = p.weight + part->at * LANES;
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

}  // namespace
}  // namespace native
