#include "answer.h"

#include <string.h>

#include "jsons.h"
#include "log.h"

#define ARGUMENT_MAX 200

static const struct {
	int status;
	const char *id, *text;
} errors[] = {
#define ANSWER_ROW(constant, status, id, text) [constant] = {(status), (id), (text)},
	ANSWER_ERROR_LIST(ANSWER_ROW)
#undef ANSWER_ROW
};

static void send_answer(struct http_request *rq, int status, const char *text)
{
	log_info(NULL, "request", F_STR("method", http_request_method(rq)),
		 F_STR("path", http_request_path(rq)), F_INT("status", status));
	http_request_add_header(rq, "OData-Version", "4.0");
	http_request_add_header(rq, "Cache-Control", "no-cache");
	http_request_reply(rq, status, NULL, text ? "application/json" : NULL, text,
			   text ? strlen(text) : 0);
}

void answer_json(struct http_request *rq, int status, json_t *body)
{
	g_autofree char *text = json_print_compact(body);

	json_decref(body);
	send_answer(rq, status, text);
}

void answer_empty(struct http_request *rq)
{
	send_answer(rq, 204, NULL);
}

static char *fill(const char *text, const char *first, const char *second)
{
	const char *arguments[2] = {first, second};
	g_autoptr(GString) out = g_string_new(NULL);

	for (const char *c = text; *c; c++) {
		const char *argument = *c == '%' ? arguments[c[1] - '1'] : NULL;

		if (*c != '%') {
			g_string_append_c(out, *c);
			continue;
		}
		g_autofree char *clean = log_clean_text(
			argument ? argument : "?", argument ? strlen(argument) : 1, ARGUMENT_MAX);

		g_string_append(out, clean);
		c++;
	}
	return g_string_free(g_steal_pointer(&out), FALSE);
}

void answer_error(struct http_request *rq, enum answer_error error, const char *first,
		  const char *second)
{
	g_autofree char *text = fill(errors[error].text, first, second);
	g_autofree char *id = g_strconcat("Base.1.8.", errors[error].id, NULL);

	if (errors[error].status == 401)
		http_request_add_header(rq, "WWW-Authenticate", "Basic realm=\"inox-bmc\"");
	answer_json(rq, errors[error].status,
		    json_pack("{s:{s:s, s:s, s:[{s:s, s:s, s:s, s:s}]}}", "error", "code", id,
			      "message", text, "@Message.ExtendedInfo", "@odata.type",
			      "#Message.v1_1_2.Message", "MessageId", id, "Message", text,
			      "Severity", "Critical"));
}
