/* drive_multi ADDRESS COUNT PORT http|https AT_A_TIME SECONDS: what libcurl's multi interface makes of the agents of
 * inox-fleet: COUNT addresses from ADDRESS on, one after the other, a new connection for each, AT_A_TIME
 * at once.  Prints requests per second and microseconds of CPU per request.  https: any certificate will do. */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "clocks.h"

#define AT_A_TIME_MOST 1024
#define WAIT_MS        100

struct drive {
	CURLM *multi;
	uint32_t first, count, next;
	unsigned port;
	const char *scheme;
	unsigned long done, failed;
};

static size_t ignore(char *bytes, size_t size, size_t count, void *ctx)
{
	(void)bytes;
	(void)ctx;
	return size * count;
}

static void start(struct drive *d, CURL *easy)
{
	uint32_t a = d->first + d->next++ % d->count;
	char url[128];

	g_snprintf(url, sizeof(url), "%s://%u.%u.%u.%u:%u/v1/status", d->scheme, a >> 24,
		   a >> 16 & 255, a >> 8 & 255, a & 255, d->port);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_multi_add_handle(d->multi, easy);
}

static CURL *make_easy(void)
{
	CURL *easy = curl_easy_init();

	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, ignore);
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_TIMEOUT, 10L);
	return easy;
}

static void collect(struct drive *d, bool again)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(d->multi, &left))) {
		CURL *easy = m->easy_handle;

		if (m->msg != CURLMSG_DONE)
			continue;
		d->done++;
		d->failed += m->data.result != CURLE_OK;
		curl_multi_remove_handle(d->multi, easy);
		if (again)
			start(d, easy);
		else
			curl_easy_cleanup(easy);
	}
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
	struct in_addr first;

	if (argc != 7 || inet_pton(AF_INET, argv[1], &first) != 1) {
		fputs("usage: drive_multi ADDRESS COUNT PORT http|https AT_A_TIME SECONDS\n",
		      stderr);
		return 2;
	}
	unsigned at_a_time = (unsigned)g_ascii_strtoull(argv[5], NULL, 10);
	double seconds = g_ascii_strtod(argv[6], NULL);
	struct drive d = {.first = ntohl(first.s_addr),
			  .count = (uint32_t)MAX(g_ascii_strtoull(argv[2], NULL, 10), 1),
			  .port = (unsigned)g_ascii_strtoull(argv[3], NULL, 10),
			  .scheme = argv[4]};
	int running = 1;

	curl_global_init(CURL_GLOBAL_ALL);
	d.multi = curl_multi_init();
	for (unsigned i = 0; i < CLAMP(at_a_time, 1, AT_A_TIME_MOST); i++)
		start(&d, make_easy());
	struct mono begin = mono_now();
	struct mono end = mono_add(begin, (struct span){(int64_t)(seconds * 1e6)});
	double cpu = cpu_seconds();

	while (running > 0) {
		curl_multi_perform(d.multi, &running);
		collect(&d, !mono_reached(end, mono_now()));
		if (running > 0)
			curl_multi_poll(d.multi, NULL, 0, WAIT_MS, NULL);
		else if (!mono_reached(end, mono_now()))
			running = 1; /* the next ones were just added */
	}
	double took = (double)(mono_now().us - begin.us) / 1e6;

	printf("%.0f %.1f %lu\n", (double)d.done / took,
	       (cpu_seconds() - cpu) * 1e6 / (double)MAX(d.done, 1), d.failed);
	curl_multi_cleanup(d.multi);
	curl_global_cleanup();
	return d.failed * 100 > d.done;
}
