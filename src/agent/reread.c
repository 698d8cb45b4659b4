#include "reread.h"

#include <errno.h>
#include <linux/blkpg.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "errors.h"

#define TRIES    20
#define PAUSE_US (100 * 1000)

/* Others (a probing daemon, the kernel's own scan) hold a disk for moments after it was written. */
static int reread_once(int fd)
{
	int r = -1;

	for (unsigned i = 0; i < TRIES && r != 0; i++) {
		r = ioctl(fd, BLKRRPART);
		if (r != 0 && errno != EBUSY)
			break;
		if (r != 0)
			g_usleep(PAUSE_US);
	}
	return r == 0 ? 0 : errno;
}

static int change_partition(int fd, int operation, const struct label_partition *p)
{
	struct blkpg_partition data = {.start = (long long)p->start,
				       .length = (long long)p->length,
				       .pno = (int)p->number};
	struct blkpg_ioctl_arg argument = {.op = operation, .datalen = sizeof(data), .data = &data};

	return ioctl(fd, BLKPG, &argument) == 0 ? 0 : errno;
}

/* The kernel answers EBUSY for one it knows already. */
static bool add_missing(int fd, const struct label *l, GError **error)
{
	for (unsigned i = 0; i < l->count; i++) {
		int number = change_partition(fd, BLKPG_ADD_PARTITION, &l->partitions[i]);

		if (number != 0 && number != EBUSY)
			return inox_error_set_errno(error, number, "add partition %u",
						    l->partitions[i].number);
	}
	return true;
}

bool reread_partitions(int fd, const struct label *l, GError **error)
{
	struct stat st;
	int number;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return true;
	number = reread_once(fd);
	if (number == 0)
		return add_missing(fd, l, error);
	/* EINVAL: a disk without partition scanning (a loop device made so); adding one by one works. */
	if (number != EINVAL)
		return inox_error_set_errno(error, number, "re-read the partition table");
	for (unsigned i = 0; i < LABEL_PARTITIONS; i++)
		change_partition(fd, BLKPG_DEL_PARTITION,
				 &(struct label_partition){.number = i + 1});
	return add_missing(fd, l, error);
}
