/* The search as it is called: queries are rounded to integers, and searched in batches by all threads. */
#include "batch.h"
#include "simd.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const float LEAST_PEAK = 1e-30f; /* a query's largest number counts as no less, so that its unit isn't zero */

/* As float32, rounded up: conversion rounds to nearest, which is off by less than the distance to the next number. */
static float round_up(double value)
{
    return value > 0 ? nextafterf((float)value, INFINITY) : 0;
}

/* Rotates a query as the int8 index is rotated, rounds it to -QUERY_LEVELS ... QUERY_LEVELS, and writes all that bounds need of
 * it. */
static void round_query(Batch *batch, int32_t n)
{
    const rs_index *index = batch->index;
    const float *vector = batch->vectors + (int64_t)n * index->dim;
    float rotated[MAX_DIM] = {0}, peak = LEAST_PEAK;
    double squares = 0, error_squares = 0;
    int64_t tail_squares = 0;
    for (int32_t i = 0; i < index->dim; i++) {
        squares += (double)vector[i] * vector[i];
        for (int32_t j = 0; j < index->dim; j++)
            rotated[j] += vector[i] * index->rotation[(int64_t)i * index->dim + j];
    }
    for (int32_t i = 0; i < index->dim; i++)
        peak = fabsf(rotated[i]) > peak ? fabsf(rotated[i]) : peak;
    float unit = peak / (float)QUERY_LEVELS;
    int8_t *bytes = memset(batch->words[n], 0, sizeof batch->words[n]);
    for (int32_t i = 0; i < index->dim; i++) {
        float rounded = fminf(fmaxf(rintf(rotated[i] / unit), (float)-QUERY_LEVELS), (float)QUERY_LEVELS);
        double error = (double)rotated[i] - (double)rounded * unit;
        error_squares += error * error;
        bytes[i] = (int8_t)rounded;
        batch->offset[ALL_DIMENSIONS][n] += ITEM_OFFSET * bytes[i];
        if (i < index->head_dim)
            batch->offset[HEAD_ONLY][n] += ITEM_OFFSET * bytes[i];
        else
            tail_squares += bytes[i] * bytes[i];
    }
    batch->unit[n] = unit;
    batch->norm[n] = round_up(sqrt(squares) / unit);
    batch->error[n] = round_up(sqrt(error_squares) / unit);
    batch->residual_norm[n] = (int32_t)ceil(sqrt((double)tail_squares));
}

/* Allocates what threads collect and the heaps of hits, in one block of memory. Returns it, to be freed; NULL for want of
 * memory. */
static void *allocate_results(Batch *batch)
{
    int64_t sum_of_k = 0, lists = (int64_t)batch->threads * batch->count;
    for (int32_t n = 0; n < batch->count; n++)
        sum_of_k += batch->queries[n].k;
    size_t list_bytes = (size_t)lists * sizeof(CandidateList), top_bytes = (size_t)batch->count * sizeof(TopK);
    size_t hit_bytes = (size_t)sum_of_k * sizeof(Hit);
    char *memory = calloc(1, list_bytes + top_bytes + hit_bytes + (size_t)(batch->threads * sum_of_k) * sizeof(float));
    if (!memory)
        return NULL;
    batch->candidates = (CandidateList *)memory;
    batch->top = (TopK *)(memory + list_bytes);
    Hit *hits = (Hit *)(memory + list_bytes + top_bytes);
    float *lower_bounds = (float *)(memory + list_bytes + top_bytes + hit_bytes);
    for (int32_t n = 0; n < batch->count; n++) {
        batch->top[n].heap = hits;
        hits += batch->queries[n].k;
    }
    for (int64_t i = 0; i < lists; i++) {
        batch->candidates[i].lower_bounds = lower_bounds;
        lower_bounds += batch->queries[i % batch->count].k;
    }
    return memory;
}

/* Returns false for want of memory. */
static bool search_batch(Batch *batch, rs_pool *pool)
{
    batch->threads = rs_pool_threads(pool);
    batch->span_count = rs_span_count(batch->index);
    for (int32_t n = 0; n < batch->count; n++) {
        round_query(batch, n);
        atomic_init(&batch->threshold[n], -INFINITY);
    }
    void *memory = allocate_results(batch);
    if (!memory)
        return false;
    rs_pool_run(pool, batch);
    for (int32_t i = 0; i < batch->threads * batch->count; i++)
        free(batch->candidates[i].entries);
    free(memory);
    return !atomic_load(&batch->out_of_memory);
}

bool rs_search(const rs_index *index, rs_pool *pool, const float *vectors, const rs_query *queries, int64_t query_count,
               int64_t *rows, float *products, rs_counts *counts)
{
    Batch *batch = malloc(sizeof *batch);
    bool complete = batch != NULL;
    for (int64_t start = 0; complete && start < query_count; start += MAX_BATCH) {
        memset(batch, 0, offsetof(Batch, words));
        batch->index = index;
        batch->queries = queries + start;
        batch->vectors = vectors + start * index->dim;
        batch->counts = counts + start;
        batch->count = (int32_t)(query_count - start < MAX_BATCH ? query_count - start : MAX_BATCH);
        for (int32_t n = 0; n < batch->count; n++) {
            batch->rows[n] = rows;
            batch->products[n] = products;
            rows += batch->queries[n].k;
            products += batch->queries[n].k;
        }
        complete = search_batch(batch, pool);
    }
    free(batch);
    return complete;
}

void rs_get_constants(rs_constants *constants)
{
    *constants = (rs_constants){
        .block = BLOCK,
        .quad = QUAD,
        .max_dim = MAX_DIM,
        .alignment = CACHE_LINE,
        .index_size = sizeof(rs_index),
        .query_size = sizeof(rs_query),
        .counts_size = sizeof(rs_counts),
    };
}
