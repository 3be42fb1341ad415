// The yardstick's other end: each connection sends a message, waits until all of it has come back, compares it, and
// sends the next. Prints one JSON object.
//
//     echo_client PORT CONNECTIONS SIZE SECONDS        calls 127.0.0.1
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, MOST_SAMPLES = 1 << 24, VARIANTS = 64 };

struct lane {
    int fd, waits_to_write;
    size_t sent, received;
    unsigned turn;
    double since;
};

static char *text;  // the message of each turn is text + turn: no two in a row are the same
static size_t size;
static int epoll;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static int by_value(const void *one, const void *other) {
    float a = *(const float *)one, b = *(const float *)other;
    return (a > b) - (a < b);
}

static void push(struct lane *lane) {
    while (lane->sent < size) {
        ssize_t taken = send(lane->fd, text + lane->turn + lane->sent, size - lane->sent, MSG_NOSIGNAL);
        if (taken < 0 && errno != EAGAIN) fail("send");
        if (taken < 0) break;
        lane->sent += taken;
    }
    int waits = lane->sent < size;
    if (waits != lane->waits_to_write) {
        struct epoll_event event = {.events = EPOLLIN | (waits ? EPOLLOUT : 0), .data.ptr = lane};
        if (epoll_ctl(epoll, EPOLL_CTL_MOD, lane->fd, &event)) fail("epoll_ctl");
        lane->waits_to_write = waits;
    }
}

static void begin(struct lane *lane) {
    lane->turn = (lane->turn + 1) % VARIANTS;
    lane->sent = lane->received = 0;
    lane->since = now();
    push(lane);
}

int main(int argc, char **argv) {
    if (argc != 5) { fprintf(stderr, "usage: echo_client PORT CONNECTIONS SIZE SECONDS\n"); return 2; }
    int count = atoi(argv[2]), yes = 1;
    size = strtoul(argv[3], NULL, 10);
    size_t room = size < 65536 ? size : 262144, samples = 0, wrong = 0, echoes = 0;
    char *buffer = malloc(room);
    float *times = malloc(MOST_SAMPLES * sizeof *times);
    struct lane *lanes = calloc(count, sizeof *lanes);
    text = malloc(size + VARIANTS);
    if (!buffer || !times || !lanes || !text) fail("malloc");
    uint32_t state = 1;
    for (size_t i = 0; i < size + VARIANTS; i++) text[i] = (state = state * 1664525 + 1013904223) >> 24;
    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < count; i++) {
        lanes[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(lanes[i].fd, (struct sockaddr *)&at, sizeof at)) fail("connect");
        setsockopt(lanes[i].fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        fcntl(lanes[i].fd, F_SETFL, O_NONBLOCK);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &lanes[i]};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, lanes[i].fd, &event)) fail("epoll_ctl");
        lanes[i].turn = i;
    }
    usleep(100000);  // the server has accepted all by then
    double start = now(), end = start + atof(argv[4]);
    for (int i = 0; i < count; i++) begin(&lanes[i]);
    struct epoll_event ready[EVENTS];
    while (now() < end) {
        int events = epoll_wait(epoll, ready, EVENTS, 100);
        for (int i = 0; i < events; i++) {
            struct lane *lane = ready[i].data.ptr;
            if (lane->waits_to_write) push(lane);
            size_t missing = size - lane->received;
            ssize_t got = recv(lane->fd, buffer, missing < room ? missing : room, 0);
            if (got < 0 && errno == EAGAIN) continue;
            if (got <= 0) fail("recv: the connection has ended");
            wrong += memcmp(buffer, text + lane->turn + lane->received, got) != 0;
            if ((lane->received += got) < size) continue;
            if (samples < MOST_SAMPLES) times[samples++] = (now() - lane->since) * 1e6;
            echoes++;
            begin(lane);
        }
    }
    double seconds = now() - start;
    if (!samples) { fprintf(stderr, "no echo came back\n"); return 1; }
    qsort(times, samples, sizeof *times, by_value);
    printf("{\"echoes\": %zu, \"echoes_per_s\": %.1f, \"p50_us\": %.2f, \"p99_us\": %.2f, \"wrong\": %zu}\n",
           echoes, echoes / seconds, times[samples / 2], times[samples * 99 / 100], wrong);
    return wrong != 0;
}
