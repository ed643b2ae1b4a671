/* The scan: an upper bound of every block of items, and which of them may hold one of a query's k best.
 *
 * A tile of items is brought into the order that one instruction multiplies, and stays in the first-level cache for all queries
 * of the group. The first dimensions alone give a bound (Cauchy-Schwarz for the others: |q'| |v'| of what is left); only where
 * that reaches what k items are known to reach are the others multiplied too. */
#include "kernel.h"

#include <float.h>
#include <immintrin.h>
#include <math.h>

#if defined(__AVX512VNNI__) && defined(__AVX512BW__)

enum { TILE = 64, LANES = 16, VECTORS = 4 };
typedef __m512i Vector;
const int32_t levels = 127;
#define zero() _mm512_setzero_si512()
#define all(word) _mm512_set1_epi32(word)
#define larger(a, b) _mm512_max_epi32(a, b)
#define add_product(sum, items, query) _mm512_dpbusd_epi32(sum, items, query)
#define add_rest(sum, rests, query) \
    _mm512_dpwssd_epi32(sum, _mm512_cvtepu16_epi32(_mm256_load_si256((const __m256i *)(rests))), query)

#define put(to, sums) _mm512_store_si512(to, sums)
#define at_least(sums, least) ((uint64_t)_mm512_cmpge_epi32_mask(sums, least))
#define of_blocks(least) _mm512_inserti64x4(_mm512_set1_epi32((least)[0]), _mm256_set1_epi32((least)[1]), 1)
#define set_bytes(bytes) _mm512_test_epi8_mask(_mm512_loadu_si512(bytes), _mm512_set1_epi8(1))
#define low_32(a, b) _mm512_unpacklo_epi32(a, b)
#define high_32(a, b) _mm512_unpackhi_epi32(a, b)
#define low_64(a, b) _mm512_unpacklo_epi64(a, b)
#define high_64(a, b) _mm512_unpackhi_epi64(a, b)

/* Of four queries' largest in each 128 bits, the largest in each half: a block's. */
static inline void store(Vector largest, int32_t *out, int64_t apart)
{
    largest = larger(largest, _mm512_shuffle_i64x2(largest, largest, 0xB1));
    _mm_storeu_si128((__m128i *)out, _mm512_castsi512_si128(largest));
    _mm_storeu_si128((__m128i *)(out + apart), _mm512_extracti32x4_epi32(largest, 2));
}

#elif defined(__AVX2__)

enum { TILE = 32, LANES = 8, VECTORS = 4 };
typedef __m256i Vector;
const int32_t levels = 63; /* a pair of products, 2 * 255 * 63, fits the 16 bits that maddubs adds in */
#define zero() _mm256_setzero_si256()
#define all(word) _mm256_set1_epi32(word)
#define larger(a, b) _mm256_max_epi32(a, b)
#define add_product(sum, items, query) \
    _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(items, query), _mm256_set1_epi16(1)))
#define add_rest(sum, rests, query) \
    _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_cvtepu16_epi32(_mm_load_si128((const __m128i *)(rests))), query))

#define put(to, sums) _mm256_store_si256((__m256i *)(to), sums)
#define at_least(sums, least) (~(uint64_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(least, sums))) & 0xFF)
#define of_blocks(least) _mm256_set1_epi32((least)[0])
#define set_bytes(bytes) ((uint64_t)set_half((bytes) + 32) << 32 | set_half(bytes))
#define low_32(a, b) _mm256_unpacklo_epi32(a, b)
#define high_32(a, b) _mm256_unpackhi_epi32(a, b)
#define low_64(a, b) _mm256_unpacklo_epi64(a, b)
#define high_64(a, b) _mm256_unpackhi_epi64(a, b)

static inline uint32_t set_half(const uint8_t *bytes)
{
    __m256i ones = _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)bytes), _mm256_set1_epi8(1));
    return (uint32_t)_mm256_movemask_epi8(ones);
}

/* Of four queries' largest in each 128 bits, the largest: a block's. */
static inline void store(Vector largest, int32_t *out, int64_t apart)
{
    (void)apart;
    _mm_storeu_si128((__m128i *)out, _mm_max_epi32(_mm256_castsi256_si128(largest), _mm256_extracti128_si256(largest, 1)));
}

#else
#error "a kernel is built for AVX2 or AVX-512 VNNI; other processors take the graphs"
#endif

enum {
    BLOCKS = TILE / BLOCK,
    ROOM = MOST_QUERIES + 3,  /* four results are written at once */
    SPAN_TILES = 4096 / TILE, /* tiles that a thread takes at once */
    PROBE_TILES = 512 / TILE, /* tiles after which it is asked whether heads are of use */
    OPEN_SHARE = 2,           /* where more than one of so many pairs outlives them, they are left out for */
    WHOLE_TILES = 8192 / TILE, /* so many tiles */
    FEW_QUERIES = 4,          /* that are looked at one by one */
    AHEAD = 4,                /* tiles that are fetched early */
    NEAR = 8 << 20,           /* bytes that stay in a cache from one scan to the next; fetching them costs more than it gains */
    FARTHEST = 1 << 29,       /* beyond any product in steps */
    MARGIN = 4,
};

/* One tile, ready to be multiplied: [quads, TILE, QUAD] of unsigned bytes, 128 added to each; the head apart from what is behind. */
typedef struct {
    const uint8_t *head, *tail;
    const uint16_t *rests;           /* the items' lengths beyond the head, in steps; NULL: what is behind the head is multiplied too */
    int32_t head_quads, quads;
} Tile;

/* Where an item stands in a tile: each of the vectors holds some of every block, so that the largest of all vectors, lane by lane,
 * is still one block's in each part of them. */
static int32_t lane_of(int32_t item)
{
    return item % VECTORS * LANES + item / VECTORS;
}

static int32_t item_in(int32_t lane)
{
    return lane % LANES * VECTORS + lane / LANES;
}

/* Where one of its dimensions stands, from the start of the head or of what is behind it. */
static int32_t place_of(int32_t item, int32_t dimension)
{
    return dimension / QUAD * TILE * QUAD + lane_of(item) * QUAD + dimension % QUAD;
}

#define STEP(n) \
    do { \
        Vector word = all(words[n][quad]); \
        sum##n##0 = add_product(sum##n##0, items[0], word); \
        sum##n##1 = add_product(sum##n##1, items[1], word); \
        sum##n##2 = add_product(sum##n##2, items[2], word); \
        sum##n##3 = add_product(sum##n##3, items[3], word); \
    } while (0)
#define REST(n) \
    do { \
        Vector word = all(rests[n]); \
        sum##n##0 = add_rest(sum##n##0, tile.rests, word); \
        sum##n##1 = add_rest(sum##n##1, tile.rests + LANES, word); \
        sum##n##2 = add_rest(sum##n##2, tile.rests + 2 * LANES, word); \
        sum##n##3 = add_rest(sum##n##3, tile.rests + 3 * LANES, word); \
    } while (0)
#define SUMS(n) Vector sum##n##0 = zero(), sum##n##1 = zero(), sum##n##2 = zero(), sum##n##3 = zero()
#define LARGEST(n) larger(larger(sum##n##0, sum##n##1), larger(sum##n##2, sum##n##3))

/* The largest of four queries' sums, block by block. */
static inline void store_largest(Vector a, Vector b, Vector c, Vector d, int32_t *out)
{
    Vector ab = larger(low_32(a, b), high_32(a, b)), cd = larger(low_32(c, d), high_32(c, d));
    store(larger(low_64(ab, cd), high_64(ab, cd)), out, ROOM);
}

/* One query's sums with every item. They have names, since compilers keep an array of them in memory. */
static inline void sum_up(Tile tile, const int32_t *const *words, const int32_t *rests, Vector *sums)
{
    SUMS(0);
    const Vector *items = (const Vector *)tile.head;
    int32_t quad = 0;
    for (; quad < tile.head_quads; quad++, items += VECTORS)
        STEP(0);
    items = (const Vector *)tile.tail;
    for (; quad < tile.quads; quad++, items += VECTORS)
        STEP(0);
    if (tile.rests)
        REST(0);
    sums[0] = sum00;
    sums[1] = sum01;
    sums[2] = sum02;
    sums[3] = sum03;
}

static inline void multiply_1(Tile tile, const int32_t *const *words, const int32_t *rests, int32_t *out)
{
    Vector sums[VECTORS];
    sum_up(tile, words, rests, sums);
    Vector most = larger(larger(sums[0], sums[1]), larger(sums[2], sums[3]));
    store_largest(most, most, most, most, out);
}

/* Every product of one query with the whole tile, by lane, [TILE]; returns the lanes whose product is no less than their block's
 * `least` [BLOCKS]. */
static uint64_t multiply_items(Tile tile, const int32_t *const *words, const int32_t *least, int32_t *out)
{
    Vector sums[VECTORS], limit = of_blocks(least);
    uint64_t lanes = 0;
    sum_up(tile, words, NULL, sums);
    for (int32_t i = 0; i < VECTORS; i++) {
        put(out + i * LANES, sums[i]);
        lanes |= at_least(sums[i], limit) << i * LANES;
    }
    return lanes;
}

static inline void multiply_4(Tile tile, const int32_t *const *words, const int32_t *rests, int32_t *out)
{
    SUMS(0);
    SUMS(1);
    SUMS(2);
    SUMS(3);
    const Vector *items = (const Vector *)tile.head;
    int32_t quad = 0;
    for (; quad < tile.head_quads; quad++, items += VECTORS) {
        STEP(0);
        STEP(1);
        STEP(2);
        STEP(3);
    }
    items = (const Vector *)tile.tail;
    for (; quad < tile.quads; quad++, items += VECTORS) {
        STEP(0);
        STEP(1);
        STEP(2);
        STEP(3);
    }
    if (tile.rests) {
        REST(0);
        REST(1);
        REST(2);
        REST(3);
    }
    store_largest(LARGEST(0), LARGEST(1), LARGEST(2), LARGEST(3), out);
}

/* The largest product in each block of the tile, [BLOCKS, ROOM], of `count` queries. */
static void multiply(Tile tile, const int32_t *const *words, const int32_t *rests, int32_t count, int32_t *out)
{
    int32_t at = 0;
    for (; at + 4 <= count; at += 4)
        multiply_4(tile, words + at, rests + at, out + at);
    for (; at < count; at++)
        multiply_1(tile, words + at, rests + at, out + at);
}

/* Where a span of the catalogue lies. */
typedef struct {
    int64_t piece, stride;           /* which one, and how many items it has */
    int64_t from, to;                /* tiles of the piece */
    int64_t block, tile;             /* of the whole catalogue: the piece's first */
} Span;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t tiles_in(int64_t items)
{
    return (items + TILE - 1) / TILE;
}

static int64_t spans_in(int64_t items)
{
    return (tiles_in(items) + SPAN_TILES - 1) / SPAN_TILES;
}

int64_t spans_of(const Table *table)
{
    int64_t spans = 0;
    for (int64_t i = 0; i < table->piece_count; i++)
        spans += spans_in(table->piece_items[i]);
    return spans;
}

static Span span_at(const Table *table, int64_t number)
{
    Span span = {0};
    for (int64_t i = 0; i < table->piece_count; i++) {
        int64_t items = table->piece_items[i];
        if (number < spans_in(items)) {
            span.piece = i;
            span.stride = items;
            span.from = number * SPAN_TILES;
            span.to = least(span.from + SPAN_TILES, tiles_in(items));
            break;
        }
        number -= spans_in(items);
        span.block += items / BLOCK;
        span.tile += tiles_in(items);
    }
    return span;
}

static int32_t quads_of(int32_t dimensions)
{
    return (dimensions + QUAD - 1) / QUAD;
}

static Tile tile_at(const Table *table, int64_t number)
{
    int32_t head = quads_of(table->head), quads = quads_of(table->dim);
    return (Tile){
        .head = table->heads + number * head * QUAD * TILE,
        .tail = table->tails + number * (quads - head) * QUAD * TILE,
        .rests = table->rests + number * TILE,
        .head_quads = head,
        .quads = quads,
    };
}

/* To be multiplied in all dimensions. */
static Tile whole_at(const Table *table, const Span *span, int64_t number)
{
    Tile tile = tile_at(table, span->tile + number);
    tile.rests = NULL;
    return tile;
}

/* To be multiplied in the head alone, with the length of the rest. */
static Tile head_at(const Table *table, const Span *span, int64_t number)
{
    Tile tile = tile_at(table, span->tile + number);
    tile.quads = tile.head_quads;
    return tile;
}

static int64_t blocks_at(const Span *span, int64_t number)
{
    return least(BLOCKS, (span->stride - number * TILE) / BLOCK);
}

/* How many items a catalogue has, filled up to whole tiles. */
int64_t places_of(const Table *table)
{
    int64_t tiles = 0;
    for (int64_t i = 0; i < table->piece_count; i++)
        tiles += tiles_in(table->piece_items[i]);
    return tiles * TILE;
}

/* Add each dimension's energy to `energies` [dim]: the squares of the items as the int8 copy has them. */
void measure(const Table *table, const int8_t *const *pieces, double *energies)
{
    int64_t block = 0;
    for (int64_t piece = 0; piece < table->piece_count; block += table->piece_items[piece++] / BLOCK) {
        const int8_t *items = pieces[piece];
        for (int32_t i = 0; i < table->dim; i++)
            for (int64_t j = 0; j < table->piece_items[piece] / BLOCK; j++, items += BLOCK) {
                double step = table->step[block + j];
                int32_t squares = 0;
                for (int32_t lane = 0; lane < BLOCK; lane++)
                    squares += items[lane] * items[lane];
                energies[i] += step * step * squares;
            }
    }
}

static void fill_tile(const Table *table, const int8_t *items, const Span *span, int64_t number, uint8_t *head, uint8_t *tail,
                      uint16_t *rests)
{
    items += number * TILE;
    int32_t squares[TILE] = {0}, count = (int32_t)least(TILE, span->stride - number * TILE);
    for (int32_t i = 0; i < table->dim; i++, items += span->stride) {
        uint8_t *places = i < table->head ? head : tail;
        int32_t dimension = i < table->head ? i : i - table->head;
        for (int32_t j = 0; j < count; j++)
            places[place_of(j, dimension)] = (uint8_t)(items[j] + 128);
        if (i >= table->head)
            for (int32_t j = 0; j < count; j++)
                squares[j] += items[j] * items[j];
    }
    for (int32_t j = 0; j < count; j++)
        rests[lane_of(j)] = (uint16_t)ceil(sqrt((double)squares[j]));
}

/* Bring one span of the int8 copy into the order that is multiplied: `heads` and `tails` uint8, [places_of, head] and [places_of,
 * dim - head], in whole quads, zero before; `rests` uint16 [places_of]. */
void fill(const Table *table, const int8_t *const *pieces, int64_t number, uint8_t *heads, uint8_t *tails, uint16_t *rests)
{
    Span span = span_at(table, number);
    for (int64_t tile = span.from; tile < span.to; tile++) {
        Tile at = tile_at(table, span.tile + tile);
        fill_tile(table, pieces[span.piece], &span, tile, heads + (at.head - table->heads), tails + (at.tail - table->tails),
                  rests + (at.rests - table->rests));
    }
}

/* What a thread scans for: the queries, and what each is known to reach. */
typedef struct {
    Job *job;
    Found *found;
    float reached[MOST_QUERIES];
    const int32_t *words[MOST_QUERIES];
    bool choosy[MOST_QUERIES];       /* not every item is allowed */
    bool heads_far, tails_far;       /* in memory, and worth fetching early */
} Thread;

/* `matters` for all queries at once, one vector of them after the other. */
static int32_t outliving(const Thread *thread, int64_t block, int64_t blocks, int32_t (*largest)[ROOM], bool head,
                         int32_t *open)
{
    const Job *job = thread->job;
    uint8_t reaches[MOST_QUERIES] = {0};
    for (int64_t i = 0; i < blocks; i++) {
        float step = job->table->step[block + i], error = job->table->error[block + i], norm = job->table->norm[block + i];
        for (int32_t n = 0; n < job->count; n++) {
            float product = (float)(largest[i][n] - job->offset[!head][n]) * step;
            reaches[n] |= product + (job->length[n] * error + job->lost[n] * norm) >= thread->reached[n];
        }
    }
    int32_t count = 0;
    for (uint64_t left = set_bytes(reaches); left; left &= left - 1)
        open[count++] = __builtin_ctzll(left);
    return count;
}

/* By how much rounding may have changed a product with a block's items, in the query's units. */
static float loss_of(const Job *job, int32_t n, int64_t block)
{
    return job->length[n] * job->table->error[block] + job->lost[n] * job->table->norm[block];
}

/* A product in steps, of the head or of all dimensions, in the query's units. */
static float in_units(const Job *job, int32_t n, int64_t block, bool head, int32_t sum)
{
    return (float)(sum - job->offset[!head][n]) * job->table->step[block];
}

/* Whether a query's largest products with some blocks come to a bound that may matter. */
static bool matters(const Thread *thread, int32_t n, int64_t block, int64_t blocks, bool head, const int32_t *largest)
{
    bool found = false;
    for (int64_t i = 0; i < blocks; i++, block++, largest += ROOM)
        found |= in_units(thread->job, n, block, head, *largest) + loss_of(thread->job, n, block) >= thread->reached[n];
    return found;
}

/* A product in steps that no item below it matters; lower than it need be by what float32 may err in a number of this size. */
static int32_t least_of(const Thread *thread, int32_t n, int64_t block)
{
    const Job *job = thread->job;
    float reached = thread->reached[n] < FLT_MAX ? thread->reached[n] : FLT_MAX; /* in units, large products may be infinite */
    float least = (reached - loss_of(job, n, block)) / job->table->step[block];
    if (!(least > -FARTHEST))
        return -FARTHEST;
    return job->offset[1][n] + (least < FARTHEST ? (int32_t)floorf(least) : FARTHEST) - MARGIN;
}

static void hear(Thread *thread, int32_t n, float reached)
{
    thread->reached[n] = reached > thread->reached[n] ? reached : thread->reached[n];
}

/* Keep the items of a tile that may be among a query's k, and what they reach at least. */
static void keep(Thread *thread, int32_t n, Tile whole, int64_t block, int64_t blocks, bool choosy)
{
    Job *job = thread->job;
    const Wanted *wanted = &job->queries[n].wanted;
    _Alignas(64) int32_t sums[TILE];
    int32_t least[2] = {FARTHEST, FARTHEST};
    uint32_t allowed[2] = {0};
    for (int64_t j = 0; j < blocks; j++) {
        least[j] = least_of(thread, n, block + j);
        allowed[j] = choosy ? allowed_in(job->table, wanted, block + j) : UINT32_MAX;
    }
    if (!(allowed[0] | allowed[1]))
        return;
    for (uint64_t left = multiply_items(whole, thread->words + n, least, sums); left; left &= left - 1) {
        int32_t lane = __builtin_ctzll(left), item = item_in(lane);
        float product = in_units(job, n, block + item / BLOCK, false, sums[lane]);
        float loss = loss_of(job, n, block + item / BLOCK);
        if (!(allowed[item / BLOCK] >> item % BLOCK & 1) || product + loss < thread->reached[n])
            continue;
        if (!wait_for(thread->found + n, product + loss, block * BLOCK + item))
            atomic_store(&job->failed, true);
        if (product - loss > thread->reached[n]) /* else it doesn't raise what k items reach */
            hear(thread, n, offer_lower(thread->found + n, wanted->k, product - loss));
    }
}

/* Tell the other threads what is reached, and hear it. */
static void share(Thread *thread)
{
    for (int32_t n = 0; n < thread->job->count; n++) {
        _Atomic float *shared = thread->job->reached + n;
        float known = atomic_load_explicit(shared, memory_order_relaxed);
        while (known < thread->reached[n])
            if (atomic_compare_exchange_weak(shared, &known, thread->reached[n]))
                known = thread->reached[n];
        thread->reached[n] = known;
    }
}

/* After the products of a tile: those of the head alone, or of all dimensions. Returns how many queries were of interest. */
static int32_t look_at(Thread *thread, const Span *span, int64_t number, bool head_first, int32_t (*largest)[ROOM])
{
    const Job *job = thread->job;
    int32_t open[MOST_QUERIES], rests[MOST_QUERIES];
    const int32_t *words[MOST_QUERIES];
    int64_t block = span->block + number * BLOCKS, blocks = blocks_at(span, number);
    bool full = (block + blocks) * BLOCK <= job->table->items;
    Tile whole = whole_at(job->table, span, number);
    int32_t count = 0;
    if (job->count > FEW_QUERIES)
        count = outliving(thread, block, blocks, largest, head_first, open);
    else
        for (int32_t n = 0; n < job->count; n++)
            if (matters(thread, n, block, blocks, head_first, &largest[0][n]))
                open[count++] = n;
    if (head_first && count) {
        for (int32_t i = 0; i < count; i++)
            words[i] = thread->words[open[i]];
        multiply(whole, words, rests, count, largest[0]);
    }
    for (int32_t i = 0; i < count; i++)
        if (!head_first || matters(thread, open[i], block, blocks, false, &largest[0][i]))
            keep(thread, open[i], whole, block, blocks, !full || thread->choosy[open[i]]);
    return count;
}

/* `fetch` says why these are inlined. */
static inline __attribute__((always_inline)) void fetch_head(const Thread *thread, const Span *span, int64_t number)
{
    if (number >= span->to)
        return;
    Tile tile = head_at(thread->job->table, span, number);
    fetch(tile.head, (int64_t)tile.head_quads * QUAD * TILE);
    fetch(tile.rests, TILE * (int64_t)sizeof *tile.rests);
}

static inline __attribute__((always_inline)) void fetch_tail(const Thread *thread, const Span *span, int64_t number)
{
    Tile tile = whole_at(thread->job->table, span, number);
    fetch(tile.tail, (int64_t)(tile.quads - tile.head_quads) * QUAD * TILE);
}

/* Scan one tile, its head first where that may do; returns how many queries were of interest after it. */
static int32_t scan_tile(Thread *thread, const Span *span, int64_t number, bool head_first)
{
    int32_t largest[BLOCKS][ROOM];
    Tile tile = head_first ? head_at(thread->job->table, span, number) : whole_at(thread->job->table, span, number);
    multiply(tile, thread->words, thread->job->rest, thread->job->count, largest[0]);
    return look_at(thread, span, number, head_first, largest);
}

/* What k items of a span reach at least, told by the largest product of each block: k blocks are k items. */
static void expect(Thread *thread, int32_t n, const Span *span, int32_t (*largest)[BLOCKS][ROOM])
{
    Job *job = thread->job;
    Found *found = thread->found + n;
    float reached = -INFINITY;
    for (int64_t tile = span->from; tile < span->to; tile++)
        for (int64_t j = 0; j < blocks_at(span, tile); j++) {
            int64_t block = span->block + tile * BLOCKS + j;
            float least = in_units(job, n, block, false, largest[tile - span->from][j][n]) - loss_of(job, n, block);
            if (least > reached && (block + 1) * BLOCK <= job->table->items)
                reached = offer_lower(found, job->queries[n].wanted.k, least);
        }
    found->lowers = 0; /* the same items are met again, one by one */
    hear(thread, n, reached);
}

/* Scan a span of which nothing is known yet: first what is reached in it, then which items reach that. */
static void scan_first(Thread *thread, const Span *span)
{
    const Job *job = thread->job;
    int32_t largest[SPAN_TILES][BLOCKS][ROOM];
    for (int64_t tile = span->from; tile < span->to; tile++)
        multiply(whole_at(job->table, span, tile), thread->words, job->rest, job->count, largest[tile - span->from][0]);
    for (int32_t n = 0; n < job->count; n++)
        if (!thread->choosy[n])
            expect(thread, n, span, largest);
    for (int64_t tile = span->from; tile < span->to; tile++)
        look_at(thread, span, tile, false, largest[tile - span->from]);
}

/* Scan a span, heads first but for `whole` tiles; returns how many more are to go without. */
static int64_t scan_span(Thread *thread, const Span *span, int64_t whole)
{
    bool open = false; /* what is behind one head was needed; of many queries one needs the next as well, nearly always */
    for (int64_t tile = span->from; tile < span->to;) {
        bool head_first = whole == 0;
        int64_t end = least(span->to, tile + (head_first ? PROBE_TILES : whole)), count = end - tile, outlived = 0;
        for (; tile < end; tile++) {
            if (thread->heads_far)
                fetch_head(thread, span, tile + AHEAD);
            if (thread->tails_far && open && head_first)
                fetch_tail(thread, span, tile);
            int32_t left = scan_tile(thread, span, tile, head_first);
            open = left > 0;
            outlived += left;
        }
        if (!head_first)
            whole -= count;
        else if (outlived * OPEN_SHARE > count * thread->job->count)
            whole = WHOLE_TILES;
    }
    return whole;
}

/* Scan the spans that are left, beside the other threads. */
void scan(Job *job, int32_t number)
{
    Thread thread = {.job = job, .found = job->found + (int64_t)number * job->count};
    for (int32_t n = 0; n < job->count; n++) {
        thread.words[n] = job->words[n];
        thread.reached[n] = job->length[n] > 0 ? -INFINITY : INFINITY; /* a query of zeros needs no scan; see `answer` */
        thread.choosy[n] = job->queries[n].wanted.mask || job->queries[n].wanted.excluded_count;
    }
    const Table *table = job->table;
    thread.heads_far = table->items * table->head > NEAR;
    thread.tails_far = table->items * table->dim > NEAR && job->count > FEW_QUERIES;
    bool first = true;
    int64_t whole = 0; /* tiles to go without heads */
    for (;;) {
        int64_t next = atomic_fetch_add(&job->next_span, 1);
        if (next >= job->spans)
            return;
        Span span = span_at(table, next);
        share(&thread);
        if (first)
            scan_first(&thread, &span);
        else
            whole = scan_span(&thread, &span, table->head < table->dim ? whole : SPAN_TILES);
        first = false;
        share(&thread);
        atomic_fetch_add(&job->spans_done, 1);
    }
}
