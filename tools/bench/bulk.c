// SPDX-License-Identifier: GPL-2.0-or-later
/* bulk send|recv ADDRESS PORT MIB: a TCP connection with so much in one direction, in pieces. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char data[256 << 10];

int main(int argc, char **argv)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	int s = socket(AF_INET, SOCK_STREAM, 0), sends = argc == 5 && !strcmp(argv[1], "send");
	long left;

	if (argc != 5 || inet_pton(AF_INET, argv[2], &sa.sin_addr) != 1)
		return 2;
	sa.sin_port = htons((unsigned short)atoi(argv[3]));
	if (connect(s, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		perror("bulk: connect");
		return 1;
	}
	for (left = atol(argv[4]) << 20; left > 0;) {
		ssize_t n = sends ? write(s, data, sizeof(data)) : read(s, data, sizeof(data));

		if (n <= 0)
			return 1;
		left -= n;
	}
	shutdown(s, SHUT_WR);
	return read(s, data, 1) != 0;
}
