/* Virtual time: the queue of what happens, the loop's timers on it, the clocks, chance. */
#include <stdarg.h>
#include <string.h>

#include "log.h"
#include "loop.h"
#include "sim.h"

struct sim_event {
	int64_t at;
	uint64_t order;
	sim_fn fn;
	void *data;
	GDestroyNotify destroy;
	struct loop_timer *timer; /* instead of fn */
	uint64_t arming;
};

struct sim_queue {
	GArray *heap;
	uint64_t order;
};

struct loop_timer {
	loop_fn fn;
	void *ctx;
	uint64_t arming; /* an event of another one is void */
	unsigned queued; /* events that point here */
	bool dead;
};

struct world *sim;

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static struct sim_event *at_index(GArray *heap, unsigned i)
{
	return &g_array_index(heap, struct sim_event, i);
}

static void swap(GArray *heap, unsigned i, unsigned j)
{
	struct sim_event e = *at_index(heap, i);

	*at_index(heap, i) = *at_index(heap, j);
	*at_index(heap, j) = e;
}

static void push(struct sim_event e)
{
	GArray *heap = sim->queue->heap;

	e.order = sim->queue->order++;
	g_array_append_val(heap, e);
	for (unsigned i = heap->len - 1; i > 0;) {
		unsigned parent = (i - 1) / 2;

		if (!is_before(at_index(heap, i), at_index(heap, parent)))
			break;
		swap(heap, i, parent);
		i = parent;
	}
}

static struct sim_event pop(void)
{
	GArray *heap = sim->queue->heap;
	struct sim_event first = *at_index(heap, 0);

	*at_index(heap, 0) = *at_index(heap, heap->len - 1);
	g_array_set_size(heap, heap->len - 1);
	for (unsigned i = 0;;) {
		unsigned least = i;

		for (unsigned child = 2 * i + 1; child <= 2 * i + 2 && child < heap->len; child++)
			if (is_before(at_index(heap, child), at_index(heap, least)))
				least = child;
		if (least == i)
			return first;
		swap(heap, i, least);
		i = least;
	}
}

void clock_begin(void)
{
	sim->queue = g_new0(struct sim_queue, 1);
	sim->queue->heap = g_array_new(FALSE, FALSE, sizeof(struct sim_event));
	sim->now = 1767225600LL * SECOND;
}

static void timer_unref(struct loop_timer *t)
{
	if (t->dead && t->queued == 0)
		g_free(t);
}

void clock_end(void)
{
	while (sim->queue->heap->len > 0) {
		struct sim_event e = pop();

		if (e.timer) {
			e.timer->queued--;
			timer_unref(e.timer);
		}
		if (e.destroy)
			e.destroy(e.data);
	}
	g_array_free(sim->queue->heap, TRUE);
	g_free(sim->queue);
}

void sim_after(int64_t us, sim_fn fn, void *data, GDestroyNotify destroy)
{
	push((struct sim_event){.at = sim->now + MAX(us, 0),
				.fn = fn,
				.data = data,
				.destroy = destroy ? destroy : g_free});
}

bool sim_step(int64_t limit)
{
	GArray *heap = sim->queue->heap;

	if (heap->len == 0 || at_index(heap, 0)->at > limit) {
		sim->now = limit;
		return false;
	}
	struct sim_event e = pop();

	sim->now = e.at;
	if (!e.timer) {
		e.fn(e.data);
		e.destroy(e.data);
		return true;
	}
	e.timer->queued--;
	if (!e.timer->dead && e.timer->arming == e.arming)
		e.timer->fn(e.timer->ctx);
	else
		timer_unref(e.timer);
	return true;
}

/* ---- loop.h */

struct mono loop_now(const struct loop *l)
{
	(void)l;
	return (struct mono){(uint64_t)sim->now};
}

struct loop_timer *loop_timer_new(struct loop *l, loop_fn fn, void *ctx)
{
	struct loop_timer *t = g_new0(struct loop_timer, 1);

	(void)l;
	t->fn = fn;
	t->ctx = ctx;
	return t;
}

void loop_timer_arm(struct loop_timer *t, struct span after)
{
	t->arming++;
	t->queued++;
	push((struct sim_event){
		.at = sim->now + MAX(after.us, 0), .timer = t, .arming = t->arming});
}

void loop_timer_disarm(struct loop_timer *t)
{
	t->arming++;
}

void loop_timer_free(struct loop_timer *t)
{
	if (!t)
		return;
	t->dead = true;
	t->arming++;
	timer_unref(t);
}

/* There is no poke socket: see plane.c. */
struct loop_watch *loop_watch_new(struct loop *l, int fd, loop_fd_fn fn, void *ctx)
{
	(void)l, (void)fd, (void)fn, (void)ctx;
	g_assert_not_reached();
}

void loop_watch_set(struct loop_watch *w, bool want_read, bool want_write)
{
	(void)w, (void)want_read, (void)want_write;
}

void loop_watch_free(struct loop_watch *w)
{
	g_assert_null(w);
}

/* ---- clocks.h and log.h, by the linker's --wrap */

struct mono __wrap_mono_now(void);
struct wall __wrap_wall_now(void);
void __wrap_log_write(enum log_level level, const char *object, const char *what,
		      const struct log_field *fields);

struct mono __wrap_mono_now(void)
{
	return (struct mono){(uint64_t)sim->now};
}

struct wall __wrap_wall_now(void)
{
	return (struct wall){sim->now};
}

void __wrap_log_write(enum log_level level, const char *object, const char *what,
		      const struct log_field *fields)
{
	if (!sim->tracing || level > LOG_LEVEL_INFO)
		return;
	g_autoptr(GString) text = g_string_new(what);

	for (; fields->key; fields++)
		if (fields->text)
			g_string_append_printf(text, " %s=\"%s\"", fields->key, fields->text);
	sim_say("  log%s: %s", object && rows_find(object) > 0 ? "*" : "", text->str);
}

/* ---- chance: xorshift* */

uint64_t sim_random(void)
{
	uint64_t x = sim->chance;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	sim->chance = x;
	return x * 0x2545f4914f6cdd1dULL;
}

uint64_t sim_below(uint64_t n)
{
	return n ? (sim_random() >> 11) % n : 0;
}

bool sim_coin(unsigned per_mille)
{
	return sim_below(1000) < per_mille;
}

bool sim_chance(unsigned per_mille)
{
	return !sim->quiet && sim_coin(per_mille);
}

void sim_uuid(char out[UUID_TEXT])
{
	uint64_t a = sim_random(), b = sim_random();

	g_snprintf(out, UUID_TEXT, "%08x-%04x-4%03x-8%03x-%012" G_GINT64_MODIFIER "x",
		   (unsigned)(a >> 32), (unsigned)(a & 0xffff), (unsigned)(a >> 16 & 0xfff),
		   (unsigned)(b >> 52 & 0xfff), (uint64_t)(b & 0xffffffffffff));
}

/* ---- the story */

static void append(GString *to, const char *format, va_list arguments)
{
	int64_t ms = (sim->now - 1767225600LL * SECOND) / 1000;

	g_string_append_printf(to, "%9.3f  ", (double)ms / 1000);
	g_string_append_vprintf(to, format, arguments);
	g_string_append_c(to, '\n');
}

void sim_say(const char *format, ...)
{
	va_list arguments;

	if (!sim->tracing)
		return;
	va_start(arguments, format);
	append(sim->trace, format, arguments);
	va_end(arguments);
}

void sim_broken(const char *format, ...)
{
	va_list arguments;

	if (sim->broken)
		return;
	va_start(arguments, format);
	sim->broken = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	sim_say("BROKEN: %s", sim->broken);
}
