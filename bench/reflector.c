// The one server of bench/peers.py: it sends back what it gets, on TCP (one connection at a time) and UDP, each by blocking
// calls in a thread, as sockperf's own server does. A message of sockperf is told from others by its length, which stands
// in it, and goes back with the flag cleared that says "from a client", as that program wants it; all others as they are.
//
// On a second port it only reads, 128 KiB at a time as iperf3's server does.
//
//     reflector PORT SINK_PORT        on 127.0.0.1
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 64 * 1024, FLAGS = 9, LENGTH = 10, HEADER = 14, CLIENT = 1 };  // sockperf's message.h

static struct sockaddr_in at;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

// What sockperf sends on TCP is one message a read: it waits for each answer.
static void mark(unsigned char *data, ssize_t size) {
    unsigned length;
    if (size < HEADER) return;
    memcpy(&length, data + LENGTH, sizeof length);
    if (ntohl(length) == size) data[FLAGS] &= ~CLIENT;
}

static void *streams(void *unused) {
    static unsigned char room[ROOM];
    int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (void *)&at, sizeof at) || listen(listener, 16)) fail("listen");
    for (;;) {
        int peer = accept(listener, NULL, NULL);
        if (peer < 0) fail("accept");
        setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        for (ssize_t size; (size = recv(peer, room, ROOM, 0)) > 0;) {
            mark(room, size);
            for (ssize_t from = 0, sent; from < size; from += sent)
                if ((sent = send(peer, room + from, size - from, MSG_NOSIGNAL)) < 0) break;
        }
        close(peer);
    }
    return unused;
}

static void *sink(void *at_port) {
    static unsigned char room[2 * ROOM];
    int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in here = at;
    here.sin_port = htons(*(int *)at_port);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (void *)&here, sizeof here) || listen(listener, 16)) fail("listen");
    for (;;) {
        int peer = accept(listener, NULL, NULL);
        if (peer < 0) fail("accept");
        while (recv(peer, room, sizeof room, 0) > 0) {}
        close(peer);
    }
    return NULL;
}

static void datagrams(void) {
    static unsigned char room[ROOM];
    int sock = socket(AF_INET, SOCK_DGRAM, 0);
    if (bind(sock, (void *)&at, sizeof at)) fail("bind");
    for (;;) {
        struct sockaddr_in from;
        socklen_t size_of_from = sizeof from;
        ssize_t size = recvfrom(sock, room, ROOM, 0, (void *)&from, &size_of_from);
        if (size < 0) continue;
        mark(room, size);
        sendto(sock, room, size, 0, (void *)&from, size_of_from);
    }
}

int main(int count, char **arguments) {
    pthread_t thread;
    if (count != 3) return 2;
    int sink_port = atoi(arguments[2]);
    at.sin_family = AF_INET;
    at.sin_port = htons(atoi(arguments[1]));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (pthread_create(&thread, NULL, streams, NULL)) fail("pthread_create");
    if (pthread_create(&thread, NULL, sink, &sink_port)) fail("pthread_create");
    datagrams();
    return 0;
}
