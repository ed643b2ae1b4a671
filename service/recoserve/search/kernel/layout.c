/* The int8 index as bundles have it, [dim, items], brought into the tiles that a processor multiplies. */
#include "kernel.h"
#include "tiles.h"

#include <math.h>

static int64_t padded_items(const rs_index *index)
{
    int64_t tiles = 0;
    for (int64_t i = 0; i < index->piece_count; i++)
        tiles += tiles_in(index->piece_items[i]);
    return tiles * TILE;
}

void rs_layout_bytes(const rs_index *index, rs_layout *bytes)
{
    int64_t items = padded_items(index), head_quads = quads_in(index->head_dim), quads = quads_in(index->dim);
    *bytes = (rs_layout){
        .heads = items * head_quads * QUAD,
        .tails = items * (quads - head_quads) * QUAD,
        .residual_norms = items * (int64_t)sizeof *index->residual_norms,
    };
}

int64_t rs_span_count(const rs_index *index)
{
    int64_t spans = 0;
    for (int64_t i = 0; i < index->piece_count; i++)
        spans += spans_in(index->piece_items[i]);
    return spans;
}

void rs_add_energies(const rs_index *index, const int8_t *const *pieces, double *energies)
{
    int64_t first_block = 0;
    for (int64_t piece = 0; piece < index->piece_count; first_block += index->piece_items[piece++] / BLOCK) {
        const int8_t *items = pieces[piece];
        for (int32_t i = 0; i < index->dim; i++)
            for (int64_t j = 0; j < index->piece_items[piece] / BLOCK; j++, items += BLOCK) {
                double step = index->step[first_block + j];
                int32_t squares = 0;
                for (int32_t k = 0; k < BLOCK; k++)
                    squares += items[k] * items[k];
                energies[i] += step * step * squares;
            }
    }
}

/* Copies one tile of a piece. */
static void fill_tile(const rs_index *index, const int8_t *items, const Span *span, int64_t number, uint8_t *head, uint8_t *tail,
                      uint16_t *residual_norms)
{
    items += number * TILE;
    int32_t squares[TILE] = {0}, count = (int32_t)smaller(TILE, span->stride - number * TILE);
    for (int32_t i = 0; i < index->dim; i++, items += span->stride) {
        uint8_t *bytes = i < index->head_dim ? head : tail;
        int32_t dimension = i < index->head_dim ? i : i - index->head_dim;
        for (int32_t j = 0; j < count; j++)
            bytes[byte_of(j, dimension)] = (uint8_t)(items[j] + ITEM_OFFSET);
        if (i >= index->head_dim)
            for (int32_t j = 0; j < count; j++)
                squares[j] += items[j] * items[j];
    }
    /* Rounded up, as the query's is: their product is part of an upper bound. At most 127 * sqrt(MAX_DIM), which 16 bits hold. */
    for (int32_t j = 0; j < count; j++)
        residual_norms[lane_of(j)] = (uint16_t)ceil(sqrt((double)squares[j]));
}

void rs_fill_span(const rs_index *index, const int8_t *const *pieces, int64_t number, uint8_t *heads, uint8_t *tails,
                  uint16_t *residual_norms)
{
    Span span = span_at(index, number);
    for (int64_t i = span.first_tile; i < span.end_tile; i++) {
        Tile tile = tile_at(index, &span, i);
        fill_tile(index, pieces[span.piece], &span, i, heads + (tile.head - index->heads), tails + (tile.tail - index->tails),
                  residual_norms + (tile.residual_norms - index->residual_norms));
    }
}
