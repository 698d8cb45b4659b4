#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct pool {
	pthread_mutex_t mutex; /* for the queues and `ending` */
	pthread_cond_t wake;
	GQueue waiting, done;
	bool ending;
	int fd;
	pthread_t *threads;
	unsigned thread_count;
	pool_run_fn run;
	void *ctx;
};

static void *next_job(struct pool *p)
{
	void *job = NULL;

	pthread_mutex_lock(&p->mutex);
	while (!p->ending && g_queue_is_empty(&p->waiting))
		pthread_cond_wait(&p->wake, &p->mutex);
	if (!p->ending)
		job = g_queue_pop_head(&p->waiting);
	pthread_mutex_unlock(&p->mutex);
	return job;
}

static void *run_thread(void *ctx)
{
	static const uint64_t one = 1;
	struct pool *p = ctx;
	void *job;

	while ((job = next_job(p))) {
		p->run(job, p->ctx);
		pthread_mutex_lock(&p->mutex);
		g_queue_push_tail(&p->done, job);
		pthread_mutex_unlock(&p->mutex);
		/* The counter cannot be full; a write that is lost would leave the loop asleep. */
		while (write(p->fd, &one, sizeof(one)) < 0 && errno == EINTR)
			;
	}
	return NULL;
}

struct pool *pool_new(unsigned threads, pool_run_fn run, void *ctx)
{
	struct pool *p = g_new0(struct pool, 1);

	pthread_mutex_init(&p->mutex, NULL);
	pthread_cond_init(&p->wake, NULL);
	g_queue_init(&p->waiting);
	g_queue_init(&p->done);
	p->run = run;
	p->ctx = ctx;
	p->threads = g_new0(pthread_t, threads);
	p->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->fd < 0)
		g_error("no descriptor for the pool: %s", g_strerror(errno));
	for (; p->thread_count < threads; p->thread_count++)
		if (pthread_create(&p->threads[p->thread_count], NULL, run_thread, p) != 0)
			g_error("no threads for the pool");
	return p;
}

void pool_free(struct pool *p)
{
	pthread_mutex_lock(&p->mutex);
	p->ending = true;
	pthread_cond_broadcast(&p->wake);
	pthread_mutex_unlock(&p->mutex);
	for (unsigned i = 0; i < p->thread_count; i++)
		pthread_join(p->threads[i], NULL);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->mutex);
	g_queue_clear(&p->waiting);
	g_queue_clear(&p->done);
	close(p->fd);
	g_free(p->threads);
	g_free(p);
}

void pool_push(struct pool *p, void *job)
{
	pthread_mutex_lock(&p->mutex);
	g_queue_push_tail(&p->waiting, job);
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->mutex);
}

void *pool_take(struct pool *p)
{
	uint64_t count;

	pthread_mutex_lock(&p->mutex);
	void *job = g_queue_pop_head(&p->done);

	/* Emptied inside the lock: a job that is added later makes it readable again. */
	if (!job)
		while (read(p->fd, &count, sizeof(count)) < 0 && errno == EINTR)
			;
	pthread_mutex_unlock(&p->mutex);
	return job;
}

int pool_fd(const struct pool *p)
{
	return p->fd;
}
