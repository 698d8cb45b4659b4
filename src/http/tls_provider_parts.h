/* tls_provider_parts.h: what the provider's algorithms have in common. */
#pragma once

struct key_share;

/* What OpenSSL hands to each algorithm as the provider's context. */
struct tls_provider_parts {
	struct key_share *key_share;
};

#define TLS_PROVIDER_CALL(number, function)        \
	{                                          \
		number, (void (*)(void))(function) \
	}
#define TLS_PROVIDER_END \
	{                \
		0, NULL  \
	}
