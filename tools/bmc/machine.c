#include "machine.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "errors.h"
#include "log.h"
#include "media.h"
#include "qemu.h"
#include "qmp.h"

/* From the polite request to end until SIGKILL. */
#define STOP_GRACE SPAN_SECONDS(2)
/* SeaBIOS answers a reset with a second one while it starts; both belong to the same boot. */
#define SETTLE SPAN_SECONDS(3)

struct machine {
	struct loop *l;
	struct machine_spec *spec;
	struct boot_override boot;
	unsigned version;
	struct child *child; /* NULL: off */
	struct qmp *qmp;
	struct loop_timer *kill_timer;
	struct loop_timer *settle_timer; /* the override is used up when it fires */
	struct qemu_order told;          /* the order that QEMU knows */
	struct media *fetching;
	char *media_url; /* NULL: the drive is empty, or a medium is being fetched */
	machine_media_fn on_media;
	void *on_media_ctx;
	char *wanted_url;              /* being fetched */
	enum machine_firmware running; /* firmware of the child */
	bool stopping, start_again;
};

static bool machine_start(struct machine *m, GError **error);

static const char *boot_text(const struct machine *m)
{
	if (m->boot.enabled != BOOT_DISABLED && m->boot.target == BOOT_PXE)
		return "pxe";
	/* A drive that was emptied meanwhile is passed over. */
	return m->boot.enabled != BOOT_DISABLED && m->boot.target == BOOT_CD && m->media_url
		       ? "cdrom"
		       : "disk";
}

/* Without an override the disk comes first and the network after it. */
static struct qemu_order order_of(const struct machine *m)
{
	return (struct qemu_order){.disk_first = strcmp(boot_text(m), "pxe") != 0,
				   .cd_first = strcmp(boot_text(m), "cdrom") == 0};
}

static void tell_index(struct machine *m, const char *path, int index)
{
	qmp_command(m->qmp, "qom-set",
		    json_pack("{s:s, s:s, s:i}", "path", path, "property", "bootindex", "value",
			      index));
}

/* Hands the order of the next boot to QEMU, which refuses a number that is set already. */
static void tell_order(struct machine *m)
{
	struct qemu_order order = order_of(m);

	if (!m->qmp)
		return;
	if (m->spec->disk && m->told.disk_first != order.disk_first)
		tell_index(m, QEMU_DISK_PATH, qemu_disk_index(order.disk_first));
	if (m->told.cd_first != order.cd_first)
		tell_index(m, QEMU_CD_PATH, qemu_cd_index(order.cd_first));
	m->told = order;
}

static void use_up_override(void *ctx)
{
	struct machine *m = ctx;

	if (m->boot.enabled != BOOT_ONCE)
		return;
	m->boot.enabled = BOOT_DISABLED;
	m->boot.target = BOOT_NONE;
	m->version++;
	tell_order(m);
}

static void boot_begins(struct machine *m)
{
	log_info(NULL, "boot begins", F_STR("machine", m->spec->name),
		 F_STR("target", boot_text(m)));
	m->version++;
	if (m->qmp)
		loop_timer_arm(m->settle_timer, SETTLE);
	else
		use_up_override(m);
}

static void on_qmp_event(void *ctx, const char *name)
{
	if (strcmp(name, "RESET") == 0)
		boot_begins(ctx);
}

static void on_exit_of_child(void *ctx, int status)
{
	struct machine *m = ctx;
	g_autoptr(GError) error = NULL;
	bool again = m->start_again;

	log_info(NULL, "power is off", F_STR("machine", m->spec->name),
		 F_INT("status", WIFEXITED(status) ? WEXITSTATUS(status) : -1),
		 F_INT("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0));
	child_end(g_steal_pointer(&m->child), SPAN_MS(0));
	qmp_free(g_steal_pointer(&m->qmp));
	loop_timer_disarm(m->kill_timer);
	loop_timer_disarm(m->settle_timer);
	m->stopping = m->start_again = false;
	m->version++;
	if (again && !machine_start(m, &error))
		log_error(NULL, "machine not started again", F_STR("machine", m->spec->name),
			  F_ERR(error));
}

static bool copy_vars(const struct machine_spec *s, GError **error)
{
	g_autoptr(GError) reason = NULL;
	g_autofree char *bytes = NULL;
	gsize length = 0;

	if (g_file_test(s->vars, G_FILE_TEST_EXISTS))
		return true;
	if (g_file_get_contents(s->ovmf_vars, &bytes, &length, &reason) &&
	    g_file_set_contents_full(s->vars, bytes, (gssize)length, G_FILE_SET_CONTENTS_CONSISTENT,
				     0600, &reason))
		return true;
	return inox_error_set(error, INOX_ERROR_IO, "UEFI variables of %s: %s", s->name,
			      reason->message);
}

static bool start_qemu(struct machine *m, GError **error)
{
	int fds[2];

	if (m->boot.mode == FIRMWARE_UEFI && !copy_vars(m->spec, error))
		return false;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return inox_error_set(error, INOX_ERROR_IO, "no socket for QMP");
	struct qemu_order order = order_of(m);
	g_auto(GStrv) argv =
		qemu_make_argv(m->spec, m->boot.mode, order, m->media_url != NULL, CHILD_FD);
	struct child_spec spec = {.argv = argv, .fd = fds[1]};

	m->child = child_start(m->l, &spec, on_exit_of_child, m, error);
	close(fds[1]);
	if (!m->child) {
		close(fds[0]);
		return false;
	}
	m->qmp = qmp_new(m->l, fds[0], m->spec->name, on_qmp_event, m);
	m->told = order;
	return true;
}

static bool start_process(struct machine *m, GError **error)
{
	g_auto(GStrv) envp = g_get_environ();
	char mac[MAC_TEXT];

	mac_print(m->spec->macs[0], mac);
	envp = g_environ_setenv(envp, "INOX_MACHINE_NAME", m->spec->name, TRUE);
	envp = g_environ_setenv(envp, "INOX_MACHINE_UUID", m->spec->uuid.s, TRUE);
	envp = g_environ_setenv(envp, "INOX_MACHINE_MAC", mac, TRUE);
	envp = g_environ_setenv(envp, "INOX_BOOT_TARGET", boot_text(m), TRUE);
	envp = g_environ_setenv(envp, "INOX_BOOT_MODE",
				m->boot.mode == FIRMWARE_UEFI ? "uefi" : "bios", TRUE);
	if (m->media_url)
		envp = g_environ_setenv(envp, "INOX_MACHINE_MEDIA", m->media_url, TRUE);
	struct child_spec spec = {
		.argv = m->spec->command, .envp = envp, .output = m->spec->serial_log, .fd = -1};

	m->child = child_start(m->l, &spec, on_exit_of_child, m, error);
	return m->child != NULL;
}

static bool machine_start(struct machine *m, GError **error)
{
	bool ok = m->spec->kind == MACHINE_QEMU ? start_qemu(m, error) : start_process(m, error);

	if (!ok)
		return false;
	m->running = m->boot.mode;
	boot_begins(m);
	return true;
}

static void on_kill_timer(void *ctx)
{
	struct machine *m = ctx;

	if (m->child)
		child_signal(m->child, SIGKILL);
}

static void machine_stop(struct machine *m)
{
	if (!m->child || m->stopping)
		return;
	m->stopping = true;
	m->version++;
	if (m->qmp)
		qmp_command(m->qmp, "quit", NULL);
	else
		child_signal(m->child, SIGTERM);
	loop_timer_arm(m->kill_timer, STOP_GRACE);
}

struct machine *machine_new(struct loop *l, struct machine_spec *spec)
{
	struct machine *m = g_new0(struct machine, 1);

	m->l = l;
	m->spec = spec;
	m->boot.mode = (enum machine_firmware)spec->firmware;
	m->kill_timer = loop_timer_new(l, on_kill_timer, m);
	m->settle_timer = loop_timer_new(l, use_up_override, m);
	return m;
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	media_free(m->fetching);
	child_end(m->child, STOP_GRACE);
	qmp_free(m->qmp);
	if (m->media_url && m->spec->kind == MACHINE_QEMU)
		(void)unlink(m->spec->media);
	g_free(m->media_url);
	g_free(m->wanted_url);
	loop_timer_free(m->kill_timer);
	loop_timer_free(m->settle_timer);
	machine_spec_free(m->spec);
	g_free(m);
}

const struct machine_spec *machine_peek_spec(const struct machine *m)
{
	return m->spec;
}

const struct boot_override *machine_peek_boot(const struct machine *m)
{
	return &m->boot;
}

const char *machine_power_text(const struct machine *m)
{
	if (!m->child)
		return "Off";
	return m->stopping && !m->start_again ? "PoweringOff" : "On";
}

unsigned machine_version(const struct machine *m)
{
	return m->version;
}

bool machine_has_firmware(const struct machine *m, enum machine_firmware f)
{
	return f == FIRMWARE_BIOS || m->spec->kind == MACHINE_PROCESS ||
	       g_file_test(m->spec->ovmf_code, G_FILE_TEST_EXISTS);
}

void machine_set_boot(struct machine *m, const struct boot_override *boot)
{
	m->boot = *boot;
	m->version++;
	/* It is for the next boot; the one that has just begun does not use it up. */
	loop_timer_disarm(m->settle_timer);
	tell_order(m);
}

bool machine_check_boot(const struct machine *m, const struct boot_override *boot, GError **error)
{
	return boot->target != BOOT_CD || boot->enabled == BOOT_DISABLED || m->media_url ||
	       inox_error_set(error, INOX_ERROR_CONFLICT, "no medium is inserted");
}

/* ---- the optical drive */

const char *machine_peek_media(const struct machine *m)
{
	return m->media_url;
}

static void media_is_in(struct machine *m, const char *url)
{
	m->media_url = g_strdup(url);
	m->version++;
	log_info(NULL, "medium inserted", F_STR("machine", m->spec->name));
	if (m->qmp)
		qmp_command(m->qmp, "blockdev-change-medium",
			    json_pack("{s:s, s:s, s:s, s:s, s:b}", "id", QEMU_CD_ID, "filename",
				      m->spec->media, "format", "raw", "read-only-mode",
				      "read-only", "force", 1));
	tell_order(m);
}

static void on_fetched(void *ctx, GBytes *bytes, const GError *failure)
{
	struct machine *m = ctx;
	g_autoptr(GBytes) content = bytes;
	g_autoptr(GError) reason = NULL, error = NULL;
	gsize length = 0;
	const char *data = content ? g_bytes_get_data(content, &length) : NULL;

	g_clear_pointer(&m->fetching, media_free);
	g_autofree char *url = g_steal_pointer(&m->wanted_url);

	/* The medium may hold a token. */
	if (!failure && !g_file_set_contents_full(m->spec->media, data, (gssize)length,
						  G_FILE_SET_CONTENTS_CONSISTENT, 0600, &reason))
		inox_error_set(&error, INOX_ERROR_IO, "the medium cannot be kept: %s",
			       reason->message);
	if (!failure && !error)
		media_is_in(m, url);
	m->on_media(m->on_media_ctx, failure ? failure : error);
}

void machine_insert_media(struct machine *m, const char *url, machine_media_fn done, void *ctx)
{
	g_autoptr(GError) error = NULL;

	if (m->media_url || m->fetching) {
		inox_error_set(&error, INOX_ERROR_CONFLICT, "a medium is inserted");
		done(ctx, error);
	} else if (m->spec->kind == MACHINE_PROCESS) {
		media_is_in(m, url);
		done(ctx, NULL);
	} else {
		m->on_media = done;
		m->on_media_ctx = ctx;
		m->wanted_url = g_strdup(url);
		m->fetching = media_fetch(m->l, url, on_fetched, m);
	}
}

void machine_eject_media(struct machine *m)
{
	if (!m->media_url)
		return;
	g_clear_pointer(&m->media_url, g_free);
	m->version++;
	log_info(NULL, "medium ejected", F_STR("machine", m->spec->name));
	if (m->qmp)
		qmp_command(m->qmp, "eject", json_pack("{s:s, s:b}", "id", QEMU_CD_ID, "force", 1));
	tell_order(m);
	if (m->spec->kind == MACHINE_QEMU)
		(void)unlink(m->spec->media);
}

/* ---- reset: one function per value, in a table */

static bool reset_on(struct machine *m, GError **error)
{
	if (!m->child)
		return machine_start(m, error);
	/* The power comes back as soon as it is gone. */
	m->start_again = m->start_again || m->stopping;
	return true;
}

static bool reset_force_off(struct machine *m, GError **error)
{
	(void)error;
	m->start_again = false;
	machine_stop(m);
	return true;
}

static bool reset_graceful_shutdown(struct machine *m, GError **error)
{
	(void)error;
	if (!m->child || m->stopping)
		return true;
	if (m->qmp)
		qmp_command(m->qmp, "system_powerdown", NULL);
	else
		child_signal(m->child, SIGTERM);
	return true;
}

static bool reset_power_cycle(struct machine *m, GError **error)
{
	if (!m->child)
		return inox_error_set(error, INOX_ERROR_CONFLICT, "the machine is off");
	machine_stop(m);
	m->start_again = true;
	return true;
}

static bool reset_force_restart(struct machine *m, GError **error)
{
	/* Another firmware, or no QMP, needs a new process. */
	if (!m->qmp || m->stopping || m->running != m->boot.mode)
		return reset_power_cycle(m, error);
	/* The override is used up when QEMU reports the reset. */
	qmp_command(m->qmp, "system_reset", NULL);
	return true;
}

bool machine_reset(struct machine *m, enum machine_reset reset, GError **error)
{
	static bool (*const resets[MACHINE_RESET_COUNT])(struct machine * m, GError * *error) = {
		[MACHINE_ON] = reset_on,
		[MACHINE_FORCE_OFF] = reset_force_off,
		[MACHINE_GRACEFUL_SHUTDOWN] = reset_graceful_shutdown,
		[MACHINE_FORCE_RESTART] = reset_force_restart,
		[MACHINE_POWER_CYCLE] = reset_power_cycle,
	};

	return resets[reset](m, error);
}
