/* The sums of products of queries with a tile, where most of a search's time goes. Inlined into the scan whatever their size: GCC
 * by itself makes `multiply` a function to be called, and a search for one query then takes 7 % longer. */
#ifndef RECOSERVE_MULTIPLY_H
#define RECOSERVE_MULTIPLY_H

#include "batch.h"
#include "simd.h"
#include "tiles.h"

enum {
    QUERIES_AT_ONCE = 4,
    MAXIMA_STRIDE = MAX_BATCH + QUERIES_AT_ONCE - 1, /* from block to block; a single query writes as many, too */
};

/* Macros, so that each sum is a variable of its own: GCC keeps an array of vectors in memory, at twice the time. `q` is a
 * query's number among those at once; the names `words`, `quad`, `items`, `tile` and `residual_norms` are the function's. */
#define DECLARE_SUMS(q) Vector sum##q##0 = zeros(), sum##q##1 = zeros(), sum##q##2 = zeros(), sum##q##3 = zeros()
#define ADD_QUAD(q) \
    do { \
        Vector query = broadcast(words[q][quad]); \
        sum##q##0 = add_quad(sum##q##0, items[0], query); \
        sum##q##1 = add_quad(sum##q##1, items[1], query); \
        sum##q##2 = add_quad(sum##q##2, items[2], query); \
        sum##q##3 = add_quad(sum##q##3, items[3], query); \
    } while (0)
#define ADD_RESIDUAL(q) \
    do { \
        Vector query = broadcast(residual_norms[q]); \
        sum##q##0 = add_residual(sum##q##0, tile.residual_norms, query); \
        sum##q##1 = add_residual(sum##q##1, tile.residual_norms + LANES, query); \
        sum##q##2 = add_residual(sum##q##2, tile.residual_norms + 2 * LANES, query); \
        sum##q##3 = add_residual(sum##q##3, tile.residual_norms + 3 * LANES, query); \
    } while (0)
#define MAXIMUM(q) maximum(maximum(sum##q##0, sum##q##1), maximum(sum##q##2, sum##q##3))

/* Writes the maxima of four queries, given one vector each, by block. */
ALWAYS_INLINE void store_maxima(Vector a, Vector b, Vector c, Vector d, int32_t *out)
{
    Vector ab = maximum(unpack_low_32(a, b), unpack_high_32(a, b)), cd = maximum(unpack_low_32(c, d), unpack_high_32(c, d));
    store_block_maxima(maximum(unpack_low_64(ab, cd), unpack_high_64(ab, cd)), out, MAXIMA_STRIDE);
}

/* One query's sums with every item of a tile, in VECTORS vectors. */
ALWAYS_INLINE void sum_items(Tile tile, const int32_t *const *words, const int32_t *residual_norms, Vector *sums)
{
    DECLARE_SUMS(0);
    const Vector *items = (const Vector *)tile.head;
    int32_t quad = 0;
    for (; quad < tile.head_quads; quad++, items += VECTORS)
        ADD_QUAD(0);
    items = (const Vector *)tile.tail;
    for (; quad < tile.quads; quad++, items += VECTORS)
        ADD_QUAD(0);
    if (tile.residual_norms)
        ADD_RESIDUAL(0);
    sums[0] = sum00;
    sums[1] = sum01;
    sums[2] = sum02;
    sums[3] = sum03;
}

ALWAYS_INLINE void multiply_one(Tile tile, const int32_t *const *words, const int32_t *residual_norms, int32_t *maxima)
{
    Vector sums[VECTORS];
    sum_items(tile, words, residual_norms, sums);
    Vector most = maximum(maximum(sums[0], sums[1]), maximum(sums[2], sums[3]));
    store_maxima(most, most, most, most, maxima);
}

ALWAYS_INLINE void multiply_four(Tile tile, const int32_t *const *words, const int32_t *residual_norms, int32_t *maxima)
{
    DECLARE_SUMS(0);
    DECLARE_SUMS(1);
    DECLARE_SUMS(2);
    DECLARE_SUMS(3);
    const Vector *items = (const Vector *)tile.head;
    int32_t quad = 0;
    for (; quad < tile.head_quads; quad++, items += VECTORS) {
        ADD_QUAD(0);
        ADD_QUAD(1);
        ADD_QUAD(2);
        ADD_QUAD(3);
    }
    items = (const Vector *)tile.tail;
    for (; quad < tile.quads; quad++, items += VECTORS) {
        ADD_QUAD(0);
        ADD_QUAD(1);
        ADD_QUAD(2);
        ADD_QUAD(3);
    }
    if (tile.residual_norms) {
        ADD_RESIDUAL(0);
        ADD_RESIDUAL(1);
        ADD_RESIDUAL(2);
        ADD_RESIDUAL(3);
    }
    store_maxima(MAXIMUM(0), MAXIMUM(1), MAXIMUM(2), MAXIMUM(3), maxima);
}

/* Writes the largest sum in each block of a tile, [TILE_BLOCKS, MAXIMA_STRIDE], of `count` queries: the sums of single items
 * stay in registers. `words` and `residual_norms` have one entry for each query. */
ALWAYS_INLINE void multiply(Tile tile, const int32_t *const *words, const int32_t *residual_norms, int32_t count, int32_t *maxima)
{
    int32_t n = 0;
    for (; n + QUERIES_AT_ONCE <= count; n += QUERIES_AT_ONCE)
        multiply_four(tile, words + n, residual_norms + n, maxima + n);
    for (; n < count; n++)
        multiply_one(tile, words + n, residual_norms + n, maxima + n);
}

/* Writes every sum of one query with a full tile, by lane, [TILE] and aligned as a vector is. Returns a bit for each lane:
 * whether its sum is no less than its block's entry of `limits` [TILE_BLOCKS]. */
static uint64_t multiply_items(Tile tile, const int32_t *const *words, const int32_t *limits, int32_t *out)
{
    Vector sums[VECTORS], lane_limits = block_limits(limits);
    uint64_t lanes = 0;
    sum_items(tile, words, NULL, sums);
    for (int32_t i = 0; i < VECTORS; i++) {
        store_lanes(out + i * LANES, sums[i]);
        lanes |= lanes_at_least(sums[i], lane_limits) << i * LANES;
    }
    return lanes;
}

#endif
