/* Datagrams to a port of this host at a given rate, for bench/capture.py: packet_load PORT COUNT RATE SIZE.

   Each begins with its number, 8 bytes, so that what was captured can be compared with what was sent. RATE 0 is as fast
   as it goes. Prints how many seconds it took. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BURST = 32 };

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

int main(int count, char **words) {
    if (count < 5) return 2;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1]))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    long packets = atol(words[2]);
    double rate = atof(words[3]);
    size_t size = strtoul(words[4], NULL, 10);
    static char data[65536];
    memset(data, 'e', sizeof data);
    /* Somebody has the port, or each datagram would be answered by an ICMP error; with no room, nobody has to read. */
    int sink = socket(AF_INET, SOCK_DGRAM, 0), source = socket(AF_INET, SOCK_DGRAM, 0), least = 1;
    setsockopt(sink, SOL_SOCKET, SO_RCVBUF, &least, sizeof least);
    if (size > sizeof data || bind(sink, (void *)&to, sizeof to) || connect(source, (void *)&to, sizeof to)) return 2;
    double begin = now();
    for (long number = 0; number < packets; number++) {
        if (rate > 0 && number % BURST == 0) {
            double wait = begin + number / rate - now();
            struct timespec pause = {(time_t)wait, (long)((wait - (time_t)wait) * 1e9)};
            if (wait > 0) nanosleep(&pause, NULL);
        }
        memcpy(data, &number, sizeof number);
        send(source, data, size, 0);
    }
    printf("%.6f\n", now() - begin);
    return 0;
}
