#include "table.h"

#include <string.h>
#include <sys/mman.h>

#define CHUNK_WATCHES 256u
#define CHUNK_BYTES   (CHUNK_WATCHES * sizeof(struct watch))

/* Beside the record: 8 bytes of free list or chunk, 20 of the schedule, about 50 of the hash table. */
_Static_assert(sizeof(struct watch) <= 900, "a watched node costs at most 1 KiB");

struct table {
	GPtrArray *chunks;   /* of CHUNK_WATCHES records */
	GHashTable *by_node; /* the record's node.s -> record */
	GArray *vacant;      /* ids */
};

struct table *table_new(void)
{
	struct table *t = g_new0(struct table, 1);

	t->chunks = g_ptr_array_new();
	t->by_node = g_hash_table_new(g_str_hash, g_str_equal);
	t->vacant = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	return t;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	g_hash_table_destroy(t->by_node);
	g_array_unref(t->vacant);
	for (guint i = 0; i < t->chunks->len; i++)
		munmap(t->chunks->pdata[i], CHUNK_BYTES);
	g_ptr_array_unref(t->chunks);
	g_free(t);
}

struct watch *table_find(const struct table *t, const struct uuid *node)
{
	return g_hash_table_lookup(t->by_node, node->s);
}

struct watch *table_at(const struct table *t, uint32_t id)
{
	struct watch *chunk = t->chunks->pdata[id / CHUNK_WATCHES];

	return &chunk[id % CHUNK_WATCHES];
}

static void add_chunk(struct table *t)
{
	void *chunk =
		mmap(NULL, CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (chunk == MAP_FAILED)
		g_error("no memory for the watch table");
	/* Best effort: the process refuses core dumps as a whole as well. */
	(void)madvise(chunk, CHUNK_BYTES, MADV_DONTDUMP);
	g_ptr_array_add(t->chunks, chunk);
	for (uint32_t i = CHUNK_WATCHES; i-- > 0;) {
		uint32_t id = (t->chunks->len - 1) * CHUNK_WATCHES + i;

		g_array_append_val(t->vacant, id);
	}
}

struct watch *table_add(struct table *t, const struct uuid *node)
{
	if (t->vacant->len == 0)
		add_chunk(t);
	uint32_t id = g_array_index(t->vacant, uint32_t, t->vacant->len - 1);
	struct watch *w = table_at(t, id);

	g_array_set_size(t->vacant, t->vacant->len - 1);
	memset(w, 0, sizeof(*w));
	w->id = id;
	w->node = *node;
	g_assert(g_hash_table_insert(t->by_node, w->node.s, w));
	return w;
}

void table_remove(struct table *t, struct watch *w)
{
	uint32_t id = w->id;

	g_hash_table_remove(t->by_node, w->node.s);
	explicit_bzero(w, sizeof(*w));
	g_array_append_val(t->vacant, id);
}

unsigned table_count(const struct table *t)
{
	return g_hash_table_size(t->by_node);
}

void table_each(const struct table *t, void (*fn)(void *ctx, struct watch *w), void *ctx)
{
	for (guint i = 0; i < t->chunks->len; i++) {
		struct watch *chunk = t->chunks->pdata[i];

		for (unsigned k = 0; k < CHUNK_WATCHES; k++)
			if (uuid_is_set(&chunk[k].node))
				fn(ctx, &chunk[k]);
	}
}
