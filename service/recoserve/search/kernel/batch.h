/* What the kernel's files share and don't export: a batch of queries, and what is collected for it. */
#ifndef RECOSERVE_BATCH_H
#define RECOSERVE_BATCH_H

#include "kernel.h"

#include <stdatomic.h>

enum { MAX_BATCH = 64 }; /* queries scanned together, so that one word has a bit for each */

/* Which dimensions a sum is of. */
typedef enum { HEAD_ONLY, ALL_DIMENSIONS } Depth;

/* An item that may be one of a query's k best. */
typedef struct {
    float bound; /* of its product, in the query's units */
    int64_t row;
} Candidate;

/* What one thread has collected for one query. */
typedef struct {
    float *lower_bounds; /* heap of at most k, the least on top: lower bounds on products of distinct items, in the query's units */
    Candidate *entries;  /* not rescored yet */
    int64_t lower_bound_count, count, capacity;
} CandidateList;

/* A rescored item. */
typedef struct {
    float product;
    int64_t row;
} Hit;

/* The best hits of one query so far. */
typedef struct {
    Hit *heap; /* of at most k, the worst on top */
    int64_t count, rescored;
} TopK;

/* At most MAX_BATCH queries, searched together by all threads of a pool. Arrays by query, as the scan reads them. */
typedef struct {
    const rs_index *index;
    const rs_query *queries;
    const float *vectors;
    int64_t *rows[MAX_BATCH]; /* where each query's hits go */
    float *products[MAX_BATCH];
    rs_counts *counts;
    int32_t count, threads;
    TopK *top;                 /* [count] */
    CandidateList *candidates; /* [threads, count] */
    int32_t residual_norm[MAX_BATCH]; /* of the rounded query, in units */
    int32_t offset[2][MAX_BATCH];     /* by Depth: what the 128 added to every int8 of an item adds to a sum */
    float unit[MAX_BATCH];
    float norm[MAX_BATCH];  /* of the query, in units, rounded up */
    float error[MAX_BATCH]; /* the norm of what rounding took from the query, in units, rounded up */
    _Atomic float threshold[MAX_BATCH]; /* the highest that any thread has shared, in units */
    atomic_llong next_span, spans_done, next_query;
    int64_t span_count;
    atomic_bool out_of_memory;
    int32_t words[MAX_BATCH][MAX_DIM / QUAD]; /* the rounded queries, a quad of int8 a word. Last: a batch is cleared up to here */
} Batch;

/* scan.c */
void rs_scan(Batch *batch, int32_t thread);

/* candidates.c */
float rs_push_lower_bound(CandidateList *list, int64_t k, float lower_bound);
bool rs_add_candidate(CandidateList *list, Candidate candidate);
uint32_t rs_allowed_items(const rs_index *index, const rs_query *query, int64_t block);

/* rescore.c */
void rs_rank_query(Batch *batch, int32_t n);

/* pool.c */
int32_t rs_pool_threads(const rs_pool *pool);
void rs_pool_run(rs_pool *pool, Batch *batch);

#endif
