/* provider_calls.h: how a provider's tables of calls are written (provider(7)). */
#pragma once

#define TLS_PROVIDER_CALL(number, function)        \
	{                                          \
		number, (void (*)(void))(function) \
	}
#define TLS_PROVIDER_END \
	{                \
		0, NULL  \
	}
