// The yardstick: an echo as a C program would have it. One thread, level-triggered epoll, one read and one write an
// event. What a peer does not take at once is kept for it, and it is not read from until that is gone.
//
//     echo_server PORT        listens on 127.0.0.1
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 256 * 1024, EVENTS = 256 };

struct peer {
    int fd;
    char *unsent;  // NULL: nothing waits
    size_t from, to;
};

static char room[ROOM];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void watch(int epoll, int operation, struct peer *peer, unsigned events) {
    struct epoll_event event = {.events = events, .data.ptr = peer};
    if (epoll_ctl(epoll, operation, peer->fd, &event)) fail("epoll_ctl");
}

static void leave(struct peer *peer) {
    close(peer->fd);
    free(peer->unsent);
    free(peer);
}

// Sends what is there; 0, or -1 where the connection is over.
static int push(struct peer *peer, const char *data, size_t *from, size_t to) {
    while (*from < to) {
        ssize_t sent = send(peer->fd, data + *from, to - *from, MSG_NOSIGNAL);
        if (sent < 0) return errno == EAGAIN ? 0 : -1;
        *from += sent;
    }
    return 0;
}

static void serve(int epoll, struct peer *peer) {
    if (peer->unsent) {
        if (push(peer, peer->unsent, &peer->from, peer->to)) { leave(peer); return; }
        if (peer->from < peer->to) return;
        free(peer->unsent);
        peer->unsent = NULL;
        watch(epoll, EPOLL_CTL_MOD, peer, EPOLLIN);
        return;
    }
    ssize_t size = recv(peer->fd, room, sizeof room, 0);
    if (size < 0 && errno == EAGAIN) return;
    size_t sent = 0;
    if (size <= 0 || push(peer, room, &sent, size)) { leave(peer); return; }
    if (sent < (size_t)size) {
        if (!(peer->unsent = malloc(size - sent))) fail("malloc");
        memcpy(peer->unsent, room + sent, size - sent);
        peer->from = 0;
        peer->to = size - sent;
        watch(epoll, EPOLL_CTL_MOD, peer, EPOLLOUT);
    }
}

int main(int argc, char **argv) {
    if (argc != 2) { fprintf(stderr, "usage: echo_server PORT\n"); return 2; }
    signal(SIGPIPE, SIG_IGN);
    int yes = 1, epoll = epoll_create1(EPOLL_CLOEXEC);
    struct peer listener = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener.fd, (struct sockaddr *)&at, sizeof at) || listen(listener.fd, 4096)) fail("bind");
    watch(epoll, EPOLL_CTL_ADD, &listener, EPOLLIN);
    struct epoll_event ready[EVENTS];
    for (;;) {
        int count = epoll_wait(epoll, ready, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct peer *peer = ready[i].data.ptr;
            if (peer != &listener) { serve(epoll, peer); continue; }
            int fd;
            while ((fd = accept4(listener.fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                struct peer *newcomer = calloc(1, sizeof *newcomer);
                if (!newcomer) fail("calloc");
                newcomer->fd = fd;
                watch(epoll, EPOLL_CTL_ADD, newcomer, EPOLLIN);
            }
        }
    }
}
