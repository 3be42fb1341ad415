/* Connections over loopback, so many a second for so long: connect, accept, one byte, close.
 *
 *     connect_load RATE SECONDS    prints how many there were
 *
 * Whoever closes first keeps the port for a minute (TIME-WAIT); so the target is another address of 127.0.0.0/8 each
 * time, of which each has ports of its own.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { TARGETS = 64 };

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    double rate = atof(argv[1]), seconds = atof(argv[2]);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) || listen(listener, 128)) return 1;
    if (getsockname(listener, (struct sockaddr *)&address, &size)) return 1;
    long done = 0, wanted = (long)(rate * seconds);
    double began = now();
    while (done < wanted) {
        double due = began + done / rate, wait = due - now();
        if (wait > 0) {
            usleep((useconds_t)(wait * 1e6) + 1);
            continue;
        }
        address.sin_addr.s_addr = htonl(0x7f000001u + (unsigned)(done % TARGETS));
        int client = socket(AF_INET, SOCK_STREAM, 0);
        if (client < 0 || connect(client, (struct sockaddr *)&address, size)) return 1;
        int server = accept(listener, 0, 0);
        char byte = 1;
        if (server < 0 || write(client, &byte, 1) != 1 || read(server, &byte, 1) != 1) return 1;
        close(client);
        close(server);
        done++;
    }
    printf("%ld connections in %.2f s\n", done, now() - began);
    return 0;
}
