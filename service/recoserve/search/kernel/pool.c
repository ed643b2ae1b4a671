/* Threads that answer together with the one that asks: woken once for each group of queries, asleep in between. */
#include "kernel.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

enum { PATIENCE = 1000 }; /* looks at what another thread is about to finish, before the processor is offered to others */

struct Pool {
    pthread_mutex_t asking;  /* held by the one whose job it is */
    pthread_mutex_t lock;    /* over everything below */
    pthread_cond_t woken;
    pthread_t *workers;
    Job *job;
    int64_t jobs;            /* how many there were */
    int32_t threads, active; /* the asking one included; workers inside the job */
    bool closed;
};

typedef struct {
    Pool *pool;
    int32_t number;
} Worker;

static void look_again(int32_t *looks)
{
    if (++*looks > PATIENCE)
        sched_yield();
}

static void work(Job *job, int32_t thread)
{
    int32_t looks = 0;
    scan(job, thread);
    while (atomic_load(&job->spans_done) < job->spans)
        look_again(&looks);
    for (;;) {
        int64_t next = atomic_fetch_add(&job->next_query, 1);
        if (next >= job->count)
            return;
        answer(job, (int32_t)next);
    }
}

static void *serve(void *argument)
{
    Worker worker = *(Worker *)argument;
    Pool *pool = worker.pool;
    int64_t seen = 0;
    free(argument);
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->closed && (!pool->job || pool->jobs == seen))
            pthread_cond_wait(&pool->woken, &pool->lock);
        if (pool->closed)
            break;
        seen = pool->jobs;
        Job *job = pool->job;
        pool->active++;
        pthread_mutex_unlock(&pool->lock);
        work(job, worker.number);
        pthread_mutex_lock(&pool->lock);
        pool->active--;
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

void pool_close(Pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->closed = true;
    pthread_cond_broadcast(&pool->woken);
    pthread_mutex_unlock(&pool->lock);
    for (int32_t i = 1; i < pool->threads; i++)
        pthread_join(pool->workers[i], NULL);
    pthread_mutex_destroy(&pool->asking);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->woken);
    free(pool->workers);
    free(pool);
}

/* So many threads, the asking one included; fewer, where the system gives no more. NULL for want of memory. */
Pool *pool_open(int32_t threads)
{
    Pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    pool->threads = 1;
    pool->workers = calloc((size_t)threads, sizeof *pool->workers);
    pthread_mutex_init(&pool->asking, NULL);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->woken, NULL);
    while (pool->workers && pool->threads < threads) {
        Worker *worker = malloc(sizeof *worker);
        if (!worker)
            break;
        *worker = (Worker){pool, pool->threads};
        if (pthread_create(&pool->workers[pool->threads], NULL, serve, worker)) {
            free(worker);
            break;
        }
        pool->threads++;
    }
    return pool;
}

int32_t pool_threads(const Pool *pool)
{
    return pool->threads;
}

static void call(Pool *pool, Job *job)
{
    pthread_mutex_lock(&pool->lock);
    pool->job = job;
    pool->jobs++;
    pthread_cond_broadcast(&pool->woken);
    pthread_mutex_unlock(&pool->lock);
}

/* Let no further worker begin, and wait for those inside. */
static void dismiss(Pool *pool)
{
    int32_t looks = 0;
    pthread_mutex_lock(&pool->lock);
    pool->job = NULL;
    while (pool->active) {
        pthread_mutex_unlock(&pool->lock);
        look_again(&looks);
        pthread_mutex_lock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
}

/* Returns when every query of the job has its answer, and no thread looks at it any more. Who comes while the workers are with
 * somebody else's job works alone. */
void pool_run(Pool *pool, Job *job)
{
    bool together = pool->threads > 1 && !pthread_mutex_trylock(&pool->asking);
    if (together)
        call(pool, job);
    work(job, 0);
    if (together) {
        dismiss(pool);
        pthread_mutex_unlock(&pool->asking);
    }
}
