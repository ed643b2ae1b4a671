/* What depends on the processor: one set of names for the instructions of AVX-512 VNNI and of AVX2. A library is compiled for
 * each. */
#ifndef RECOSERVE_SIMD_H
#define RECOSERVE_SIMD_H

#include "kernel.h"

#include <immintrin.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Asks for memory early. Inlined wherever it stands, as are the functions that only call it: GCC takes a function that does
 * nothing but prefetch for one without effect, and drops its calls. */
ALWAYS_INLINE void prefetch(const void *start, int64_t bytes)
{
    for (int64_t byte = 0; byte < bytes; byte += CACHE_LINE)
        __builtin_prefetch((const char *)start + byte);
}

enum { ITEM_OFFSET = 128 }; /* added to an item's int8: the instructions multiply unsigned bytes by signed ones */

#if defined(__AVX512VNNI__) && defined(__AVX512BW__)

enum {
    QUERY_LEVELS = 127, /* a query is rounded to -QUERY_LEVELS ... QUERY_LEVELS */
    TILE = 64,          /* items */
    LANES = 16,         /* of 32 bits in a vector */
    VECTORS = 4,        /* that hold a quad of every item of a tile */
};
typedef __m512i Vector;

ALWAYS_INLINE Vector zeros(void)
{
    return _mm512_setzero_si512();
}

ALWAYS_INLINE Vector broadcast(int32_t word)
{
    return _mm512_set1_epi32(word);
}

ALWAYS_INLINE Vector maximum(Vector a, Vector b)
{
    return _mm512_max_epi32(a, b);
}

/* Adds a quad of each item, times the query's quad. */
ALWAYS_INLINE Vector add_quad(Vector sums, Vector items, Vector query)
{
    return _mm512_dpbusd_epi32(sums, items, query);
}

/* Adds each item's residual norm times the query's. */
ALWAYS_INLINE Vector add_residual(Vector sums, const uint16_t *residual_norms, Vector query)
{
    return _mm512_dpwssd_epi32(sums, _mm512_cvtepu16_epi32(_mm256_load_si256((const __m256i *)residual_norms)), query);
}

/* Writes [LANES], aligned. */
ALWAYS_INLINE void store_lanes(int32_t *out, Vector sums)
{
    _mm512_store_si512(out, sums);
}

/* Returns a bit for each lane: whether it is no less than the limit's. */
ALWAYS_INLINE uint64_t lanes_at_least(Vector sums, Vector limits)
{
    return _mm512_cmpge_epi32_mask(sums, limits);
}

/* Each block's limit, in the lanes of its items. */
ALWAYS_INLINE Vector block_limits(const int32_t *limits)
{
    return _mm512_inserti64x4(_mm512_set1_epi32(limits[0]), _mm256_set1_epi32(limits[1]), 1);
}

/* Returns a bit for each of 64 bytes, each 0 or 1. */
ALWAYS_INLINE uint64_t bits_of_bytes(const uint8_t *bytes)
{
    return _mm512_test_epi8_mask(_mm512_loadu_si512(bytes), _mm512_set1_epi8(1));
}

ALWAYS_INLINE Vector unpack_low_32(Vector a, Vector b)
{
    return _mm512_unpacklo_epi32(a, b);
}

ALWAYS_INLINE Vector unpack_high_32(Vector a, Vector b)
{
    return _mm512_unpackhi_epi32(a, b);
}

ALWAYS_INLINE Vector unpack_low_64(Vector a, Vector b)
{
    return _mm512_unpacklo_epi64(a, b);
}

ALWAYS_INLINE Vector unpack_high_64(Vector a, Vector b)
{
    return _mm512_unpackhi_epi64(a, b);
}

/* Of four queries' maxima in every 128 bits, writes the maxima of each half, which are a block's: four at `out`, four `stride`
 * behind. */
ALWAYS_INLINE void store_block_maxima(Vector maxima, int32_t *out, int64_t stride)
{
    maxima = maximum(maxima, _mm512_shuffle_i64x2(maxima, maxima, 0xB1));
    _mm_storeu_si128((__m128i *)out, _mm512_castsi512_si128(maxima));
    _mm_storeu_si128((__m128i *)(out + stride), _mm512_extracti32x4_epi32(maxima, 2));
}

#elif defined(__AVX2__)

enum {
    QUERY_LEVELS = 63, /* maddubs adds two products in 16 bits, and saturates; 2 * 255 * 63 fits */
    TILE = 32,
    LANES = 8,
    VECTORS = 4,
};
typedef __m256i Vector;

ALWAYS_INLINE Vector zeros(void)
{
    return _mm256_setzero_si256();
}

ALWAYS_INLINE Vector broadcast(int32_t word)
{
    return _mm256_set1_epi32(word);
}

ALWAYS_INLINE Vector maximum(Vector a, Vector b)
{
    return _mm256_max_epi32(a, b);
}

ALWAYS_INLINE Vector add_quad(Vector sums, Vector items, Vector query)
{
    return _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_maddubs_epi16(items, query), _mm256_set1_epi16(1)));
}

ALWAYS_INLINE Vector add_residual(Vector sums, const uint16_t *residual_norms, Vector query)
{
    Vector items = _mm256_cvtepu16_epi32(_mm_load_si128((const __m128i *)residual_norms));
    return _mm256_add_epi32(sums, _mm256_madd_epi16(items, query));
}

ALWAYS_INLINE void store_lanes(int32_t *out, Vector sums)
{
    _mm256_store_si256((__m256i *)out, sums);
}

ALWAYS_INLINE uint64_t lanes_at_least(Vector sums, Vector limits)
{
    /* AVX2 has no "at least": all lanes but those that are less. */
    return ~(uint64_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(limits, sums))) & 0xFF;
}

ALWAYS_INLINE Vector block_limits(const int32_t *limits)
{
    return _mm256_set1_epi32(limits[0]);
}

ALWAYS_INLINE uint32_t bits_of_32_bytes(const uint8_t *bytes)
{
    __m256i ones = _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)bytes), _mm256_set1_epi8(1));
    return (uint32_t)_mm256_movemask_epi8(ones);
}

ALWAYS_INLINE uint64_t bits_of_bytes(const uint8_t *bytes)
{
    return (uint64_t)bits_of_32_bytes(bytes + 32) << 32 | bits_of_32_bytes(bytes);
}

ALWAYS_INLINE Vector unpack_low_32(Vector a, Vector b)
{
    return _mm256_unpacklo_epi32(a, b);
}

ALWAYS_INLINE Vector unpack_high_32(Vector a, Vector b)
{
    return _mm256_unpackhi_epi32(a, b);
}

ALWAYS_INLINE Vector unpack_low_64(Vector a, Vector b)
{
    return _mm256_unpacklo_epi64(a, b);
}

ALWAYS_INLINE Vector unpack_high_64(Vector a, Vector b)
{
    return _mm256_unpackhi_epi64(a, b);
}

/* A tile is one block: writes four queries' maxima at `out`. */
ALWAYS_INLINE void store_block_maxima(Vector maxima, int32_t *out, int64_t stride)
{
    (void)stride;
    _mm_storeu_si128((__m128i *)out, _mm_max_epi32(_mm256_castsi256_si128(maxima), _mm256_extracti128_si256(maxima, 1)));
}

#else
#error "the kernel is written for AVX2 and AVX-512 VNNI; other processors are served by the ONNX graphs"
#endif

#endif
