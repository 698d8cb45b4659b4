/* A configuration that is accepted must survive being handed to a process. */
#include <sys/mman.h>
#include <unistd.h>

#include "config.h"
#include "role.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	g_autoptr(config) c = config_parse((const char *)data, length, "fuzz", NULL);

	if (!c)
		return 0;
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	g_assert_true(config_write_for_role(c, ROLE_CONDUCTOR, fd, NULL));
	g_assert_cmpint(lseek(fd, 0, SEEK_SET), ==, 0);
	g_autoptr(config) again = config_read_fd(fd, NULL);

	close(fd);
	g_assert_nonnull(again);
	g_assert_cmpstr(config_text(again, OPTION_agent_kernel_append_params), ==,
			config_text(c, OPTION_agent_kernel_append_params));
	return 0;
}
