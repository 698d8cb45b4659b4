#include "answer.h"

#include <jansson.h>

#include "errors.h"
#include "jsons.h"

G_DEFINE_QUARK(inox - api - error, api_error)

enum form {
	FORM_FAULT,       /* {"faultcode", "faultstring", "debuginfo"}, raised by a handler */
	FORM_DESCRIPTION, /* {"code", "title", "description"}, raised by routing */
	FORM_FLAT,        /* {"faultcode", "faultstring"} and not double encoded */
};

struct status_rule {
	int status;
	const char *reason;
	enum form form;
};

static const struct status_rule api_rules[API_ERROR_COUNT] = {
	[API_ERROR_NOT_ACCEPTABLE] = {406, "Not Acceptable", FORM_FAULT},
	[API_ERROR_NOT_OFFERED] = {501, "Not Implemented", FORM_FAULT},
	[API_ERROR_VERSION] = {406, "Not Acceptable", FORM_DESCRIPTION},
	[API_ERROR_ROUTE] = {404, "Not Found", FORM_DESCRIPTION},
	[API_ERROR_METHOD] = {405, "Method Not Allowed", FORM_DESCRIPTION},
	[API_ERROR_IDENT] = {400, "Bad Request", FORM_DESCRIPTION},
	[API_ERROR_BODY_SIZE] = {413, "Request Entity Too Large", FORM_FLAT},
	[API_ERROR_BODY_DEPTH] = {400, "Bad Request", FORM_FLAT},
};

static const struct status_rule inox_rules[] = {
	[INOX_ERROR_INVALID] = {400, "Bad Request", FORM_FAULT},
	[INOX_ERROR_NOT_FOUND] = {404, "Not Found", FORM_FAULT},
	[INOX_ERROR_CONFLICT] = {409, "Conflict", FORM_FAULT},
	[INOX_ERROR_BUSY] = {409, "Conflict", FORM_FAULT},
	[INOX_ERROR_DENIED] = {403, "Forbidden", FORM_FAULT},
	[INOX_ERROR_IO] = {500, "Internal Server Error", FORM_FAULT},
	[INOX_ERROR_TIMEOUT] = {503, "Service Unavailable", FORM_FAULT},
	[INOX_ERROR_PEER] = {500, "Internal Server Error", FORM_FAULT},
	[INOX_ERROR_LIMIT] = {400, "Bad Request", FORM_FAULT},
	[INOX_ERROR_UNAVAILABLE] = {503, "Service Unavailable", FORM_FAULT},
	[INOX_ERROR_UNSUPPORTED] = {406, "Not Acceptable", FORM_FAULT},
};

bool api_error_set(GError **error, enum api_error code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	if (error)
		*error = g_error_new_valist(API_ERROR, (int)code, format, arguments);
	va_end(arguments);
	return false;
}

bool api_error_set_too_old(GError **error)
{
	return api_error_set(error, API_ERROR_NOT_ACCEPTABLE, "Request not acceptable.");
}

static const struct status_rule *rule_of(const GError *error)
{
	if (error->domain == API_ERROR)
		return &api_rules[error->code];
	if (error->domain == INOX_ERROR && error->code >= 0 &&
	    (size_t)error->code < G_N_ELEMENTS(inox_rules))
		return &inox_rules[error->code];
	return &inox_rules[INOX_ERROR_IO];
}

static json_t *fault(const struct status_rule *rule, const char *sentence)
{
	if (rule->form == FORM_DESCRIPTION)
		return json_pack("{s:i, s:s, s:s}", "code", rule->status, "title", rule->reason,
				 "description", sentence);
	if (rule->form == FORM_FLAT)
		return json_pack("{s:s, s:s}", "faultcode", "Client", "faultstring", sentence);
	return json_pack("{s:s, s:s, s:n}", "faultcode", rule->status < 500 ? "Client" : "Server",
			 "faultstring", sentence, "debuginfo");
}

struct answer answer_for_error(const GError *error)
{
	const struct status_rule *rule = rule_of(error);
	/* What went wrong inside (file names, errno) is for the log only. */
	g_autofree char *sentence = rule->status == 500 ? g_strdup("An unknown exception occurred.")
							: g_utf8_make_valid(error->message, -1);
	g_autoptr(json_t) inner = fault(rule, sentence);

	if (rule->form == FORM_FLAT)
		return (struct answer){rule->status, rule->reason, json_print_python(inner)};
	g_autofree char *text = json_print_python(inner);
	g_autoptr(json_t) outer = json_pack("{s:s}", "error_message", text);

	return (struct answer){rule->status, rule->reason, json_print_python(outer)};
}
