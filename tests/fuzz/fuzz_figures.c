/* What a dialer that was taken over can send as its figures: what is taken prints, and prints back the same. */
#include "dialer_metrics.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	g_autofree char *text = g_strndup((const char *)data, length);
	struct dialer_metrics m, again;
	struct dialer_metrics *list[] = {&m};
	g_autoptr(GString) out = g_string_new(NULL);

	if (!dialer_metrics_decode(text, &m, NULL))
		return 0;
	g_autofree char *printed = dialer_metrics_encode(&m);

	g_assert_true(dialer_metrics_decode(printed, &again, NULL));
	dialer_metrics_print(out, list, 1);
	g_assert_cmpuint(out->len, >, 1000);
	return 0;
}
