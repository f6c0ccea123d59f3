/*
 * A program of libvdeplug's, as its users write them: two connections to one switch.
 *
 *     libvdeplug DIR PORT GROUP LENGTH...
 *
 * Opens DIR twice, first at port PORT with its socket for GROUP, then at any. Sends from the first to the
 * second a frame of each LENGTH, and from the second to the first too, and prints what came. Asks for PORT
 * once more. Prints "waiting", and then what the control connections say: that the switch has ended.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libvdeplug.h>

enum { PATIENCE = 10000, MARK = 15, ROOM = 1 << 16 };

static const char *const names[] = {"first", "second"};
static unsigned char sent[ROOM], come[ROOM];

static void fail(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

/* Waits until there is something to read. */
static void wait_for(int fd, const char *what)
{
	struct pollfd wanted = {.fd = fd, .events = POLLIN};
	if (poll(&wanted, 1, PATIENCE) != 1)
		fail(what);
}

/* A broadcast, so that it is for everybody on whatever switch; the bytes behind the addresses differ. */
static void fill(int from, size_t length)
{
	memset(sent, 0xff, 6);
	memcpy(sent + 6, "\x02\0\0\0\0", 5);
	sent[11] = from;
	for (size_t at = 12; at < length; at++)
		sent[at] = at * 7 + length;
}

static void send_frame(VDECONN *conn, int from, size_t length)
{
	fill(from, length);
	ssize_t taken = vde_send(conn, sent, length, 0);
	if (taken != (ssize_t)length)
		printf("vde_send of %zu bytes: %zd\n", length, taken);
}

static ssize_t receive(VDECONN *conn)
{
	wait_for(vde_datafd(conn), "no frame");
	return vde_recv(conn, come, sizeof come, 0);
}

/* Sends a frame and a short one behind it, which comes in any case: what is not there then is lost. */
static void exchange(VDECONN *conns[2], int from, size_t length)
{
	printf("%zu bytes from the %s: ", length, names[from]);
	send_frame(conns[from], from, MARK);
	send_frame(conns[from], from, length);
	send_frame(conns[from], from, MARK);
	if (receive(conns[!from]) != MARK)
		printf("not in order, ");
	ssize_t got = receive(conns[!from]);
	if (got == MARK) {
		puts("nothing came");
		return;
	}
	fill(from, length);
	if (got < 0 || memcmp(come, sent, got) != 0)
		puts("something else came");
	else if ((size_t)got == length)
		puts("came as it was sent");
	else
		printf("%zd of them came\n", got);
	if (receive(conns[!from]) != MARK)
		puts("more came");
}

int main(int argc, char *argv[])
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 4)
		return 2;
	struct vde_open_args wish = {.port = atoi(argv[2]), .group = argv[3], .mode = 0660};
	VDECONN *conns[2];
	conns[0] = vde_open(argv[1], "a program of our own", &wish);
	if (!conns[0])
		fail("vde_open at a port");
	conns[1] = vde_open(argv[1], "another", NULL);
	if (!conns[1])
		fail("vde_open");
	for (int arg = 4; arg < argc; arg++)
		for (int from = 0; from < 2; from++)
			exchange(conns, from, atoi(argv[arg]));

	VDECONN *third = vde_open(argv[1], "one too many", &wish);
	printf("port %d again: %s\n", wish.port, third ? "had" : "refused");
	if (third)
		vde_close(third);

	puts("waiting");
	for (int which = 0; which < 2; which++) {
		char byte;
		wait_for(vde_ctlfd(conns[which]), "no end");
		ssize_t got = read(vde_ctlfd(conns[which]), &byte, 1);
		printf("the %s sees %s\n", names[which], got == 0 ? "the end" : "something else");
		if (vde_close(conns[which]) != 0)
			fail("vde_close");
	}
	return 0;
}
