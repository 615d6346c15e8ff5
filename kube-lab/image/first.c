/* first NUMBER ADDRESS...: a pod whose first instruction sends. To each address a datagram at once, then every millisecond for a tenth of a
 * second, then every five until two seconds are over. The last 16 bytes are those of crates/lab's probes: "tt-probe" and a number,
 * here the pod's number (16 bits), the address' index (8) and how long ago the first was sent (40 bits, microseconds), big-endian. */
#include <arpa/inet.h>
#include <endian.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static int64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000LL + at.tv_nsec / 1000;
}

int main(int count, char **word) {
    int sender = socket(AF_INET, SOCK_DGRAM, 0);
    int64_t began = now(), since = 0;
    uint64_t number = strtoull(count > 1 ? word[1] : "0", 0, 10);
    while (since < 2000000) {
        for (int index = 2; index < count; index++) {
            struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(80)};
            char bytes[16];
            uint64_t cookie = htobe64(number << 48 | (uint64_t)(index - 2) << 40 | (uint64_t)since);
            inet_pton(AF_INET, word[index], &to.sin_addr);
            memcpy(bytes, "tt-probe", 8);
            memcpy(bytes + 8, &cookie, 8);
            sendto(sender, bytes, sizeof bytes, 0, (struct sockaddr *)&to, sizeof to);
        }
        struct timespec rest = {.tv_nsec = since < 100000 ? 1000000 : 5000000};
        nanosleep(&rest, 0);
        since = now() - began;
    }
    return 0;
}
