/* Where items stand: the int8 index cut into spans, and spans into tiles.
 *
 * A tile is [quads, TILE, QUAD] unsigned bytes, ITEM_OFFSET added to each int8, its head in one array and its tail in another:
 * the scan then reads the heads of all tiles one after the other, and a tail only where it is needed. */
#ifndef RECOSERVE_TILES_H
#define RECOSERVE_TILES_H

#include "kernel.h"
#include "simd.h"

enum {
    TILE_BLOCKS = TILE / BLOCK,
    SPAN_TILES = 4096 / TILE,
};

/* One tile, ready to be multiplied. */
typedef struct {
    const uint8_t *head, *tail;
    const uint16_t *residual_norms; /* [TILE], by lane; NULL: the tail is multiplied in their place */
    int32_t head_quads, quads;      /* of the head, and of all that is to be multiplied */
} Tile;

/* Tiles of one piece. */
typedef struct {
    int64_t piece, stride;           /* its number, and how many items it has */
    int64_t first_tile, end_tile;    /* counted from the piece's first */
    int64_t piece_block, piece_tile; /* the piece's first, counted from the index's first */
} Span;

static inline int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t tiles_in(int64_t items)
{
    return (items + TILE - 1) / TILE;
}

static inline int64_t spans_in(int64_t items)
{
    return (tiles_in(items) + SPAN_TILES - 1) / SPAN_TILES;
}

static inline int32_t quads_in(int32_t dimensions)
{
    return (dimensions + QUAD - 1) / QUAD;
}

/* Every vector holds some items of every block, so that the maximum of a tile's vectors, lane by lane, still has each block's
 * items apart in lanes of their own. */
static inline int32_t lane_of(int32_t item)
{
    return item % VECTORS * LANES + item / VECTORS;
}

static inline int32_t item_at(int32_t lane)
{
    return lane % LANES * VECTORS + lane / LANES;
}

/* Where one dimension of an item stands, from the start of the tile's head or tail; `dimension` counts from there too. */
static inline int32_t byte_of(int32_t item, int32_t dimension)
{
    return dimension / QUAD * TILE * QUAD + lane_of(item) * QUAD + dimension % QUAD;
}

static inline Span span_at(const rs_index *index, int64_t number)
{
    Span span = {0};
    for (int64_t i = 0; i < index->piece_count; i++) {
        int64_t items = index->piece_items[i];
        if (number < spans_in(items)) {
            span.piece = i;
            span.stride = items;
            span.first_tile = number * SPAN_TILES;
            span.end_tile = smaller(span.first_tile + SPAN_TILES, tiles_in(items));
            break;
        }
        number -= spans_in(items);
        span.piece_block += items / BLOCK;
        span.piece_tile += tiles_in(items);
    }
    return span;
}

/* The last tile of a piece may be half filled. */
static inline int64_t blocks_in_tile(const Span *span, int64_t tile)
{
    return smaller(TILE_BLOCKS, (span->stride - tile * TILE) / BLOCK);
}

/* A tile by its number in the span's piece, with all that there is of it. */
static inline Tile tile_at(const rs_index *index, const Span *span, int64_t tile)
{
    int64_t number = span->piece_tile + tile;
    int32_t head_quads = quads_in(index->head_dim), quads = quads_in(index->dim);
    return (Tile){
        .head = index->heads + number * head_quads * QUAD * TILE,
        .tail = index->tails + number * (quads - head_quads) * QUAD * TILE,
        .residual_norms = index->residual_norms + number * TILE,
        .head_quads = head_quads,
        .quads = quads,
    };
}

/* A tile to be multiplied in all dimensions. */
static inline Tile full_tile_at(const rs_index *index, const Span *span, int64_t number)
{
    Tile tile = tile_at(index, span, number);
    tile.residual_norms = NULL;
    return tile;
}

/* A tile to be multiplied in its head, with the residual norms as one dimension more. */
static inline Tile head_tile_at(const rs_index *index, const Span *span, int64_t number)
{
    Tile tile = tile_at(index, span, number);
    tile.quads = tile.head_quads;
    return tile;
}

#endif
