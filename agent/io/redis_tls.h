/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS to the servers: what we trust, who we are, and whom we expect to meet.
 *
 * hiredis checks the chain only, so every connection gets an SSL object of our own, which also
 * verifies whose certificate it is: the literal address that is dialled, or redis.tls.serverName.
 * TLS 1.2 or newer; OpenSSL's security level 2 whatever the image's openssl.cnf says (no SHA-1
 * signature, no RSA key below 2048 bits); names by subjectAltName only (RFC 9525, 6.3).
 *
 * The files are looked at for every connection and read again when one changed. A set of files that
 * does not fit together (a rotation half done) keeps the last good one, and is tried again.
 *
 * OpenSSL is named in redis_tls.c only. Its errors are a queue of the thread, which libcurl fills
 * too: redis_tls_clear() comes before every call whose failure is to be explained.
 */
#ifndef MUSTER_IO_REDIS_TLS_H
#define MUSTER_IO_REDIS_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "io/file_stamp.h"

struct ssl_st;     /* SSL */
struct ssl_ctx_st; /* SSL_CTX */

struct redis_tls_config {
    bool enabled;
    const char *ca_file;
    const char *cert_file;   /* "" = no client certificate */
    const char *key_file;    /* with cert_file */
    const char *server_name; /* "" = the address */
};

#define REDIS_TLS_FILES 3
#define REDIS_TLS_WHY_SIZE 160

struct redis_tls {
    bool enabled;
    char *files[REDIS_TLS_FILES]; /* owned: authority, certificate, key; "" = none */
    char *server_name;            /* owned */
    struct file_stamp stamps[REDIS_TLS_FILES];
    struct ssl_ctx_st *context; /* owned; NULL until the files could be read */
    bool said;                  /* that they cannot be used was logged */
};

/* Copies the texts; reads nothing yet. A NULL config is TLS off. */
void redis_tls_init(struct redis_tls *tls, const struct redis_tls_config *config);
void redis_tls_deinit(struct redis_tls *tls);

/*
 * A client's end for a connection to `ip`, after a look at the files. The caller's, to be given to
 * hiredis or redis_tls_drop(). NULL with `err` (E_AUTH) naming the key and file that are at fault.
 */
struct ssl_st *redis_tls_new_end(struct redis_tls *tls, const char *ip, struct err *err);
void redis_tls_drop(struct ssl_st *end);

/* True once the handshake is done, that is: the server is who we expect. */
bool redis_tls_is_secure(const struct ssl_st *end);

void redis_tls_clear(void);

/*
 * Why the last call on this end failed, for people: what is wrong with the certificate, what the
 * server said, or that it does not speak TLS. "" if OpenSSL has nothing to say, as for a closed
 * connection. True if the server's certificate was refused.
 */
bool redis_tls_explain(const struct ssl_st *end, char why[REDIS_TLS_WHY_SIZE]);

#endif
