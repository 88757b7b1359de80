/* SPDX-License-Identifier: Apache-2.0 */
#include "io/redis_tls.h"

#include <assert.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"

enum { TLS_CA = 0, TLS_CERT, TLS_KEY };

static const char *const tls_keys[REDIS_TLS_FILES] = {"redis.tls.caFile", "redis.tls.certFile",
                                                      "redis.tls.keyFile"};

DEFINE_CLEANUP(SSL_CTX_free, SSL_CTX *)

static char *tls_copy(const char *text)
{
    return xstrdup(text ? text : "");
}

void redis_tls_init(struct redis_tls *tls, const struct redis_tls_config *config)
{
    struct redis_tls_config off = {0};
    if (!config)
        config = &off;
    *tls = (struct redis_tls){
        .enabled = config->enabled,
        .files = {tls_copy(config->ca_file), tls_copy(config->cert_file),
                  tls_copy(config->key_file)},
        .server_name = tls_copy(config->server_name),
    };
}

void redis_tls_deinit(struct redis_tls *tls)
{
    SSL_CTX_free(tls->context);
    for (size_t i = 0; i < REDIS_TLS_FILES; i++)
        free(tls->files[i]);
    free(tls->server_name);
    *tls = (struct redis_tls){0};
}

/* A key with a passphrase: nobody is there to type it, and the default would ask the terminal. */
static int tls_no_passphrase(char *text, int size, int writing, void *ctx)
{
    (void)text, (void)size, (void)writing, (void)ctx;
    return 0;
}

static int tls_fail(struct err *err, size_t file, const struct redis_tls *tls)
{
    unsigned long code = ERR_peek_error(); /* the cause; what follows is where it passed */
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    return err_set(err, E_AUTH, "%s %s: %s", tls_keys[file], tls->files[file],
                   reason ? reason : "cannot be used");
}

static SSL_CTX *tls_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    assert(context); /* NULL is out of memory */
    SSL_CTX_set_security_level(context, 2);
    bool set = SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1;
    assert(set);
    (void)set;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_default_passwd_cb(context, tls_no_passphrase);
    /* A server closes without close_notify; RESP says itself where a reply ends. */
    (void)SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    /* 34 KiB less for each idle connection. */
    (void)SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    return context;
}

/* All of the files into one new context, or none. */
static int tls_load(const struct redis_tls *tls, SSL_CTX **ret_context, struct err *err)
{
    cleanup_with(SSL_CTX_freep) SSL_CTX *context = tls_context();
    ERR_clear_error();
    if (SSL_CTX_load_verify_file(context, tls->files[TLS_CA]) != 1)
        return tls_fail(err, TLS_CA, tls);
    if (tls->files[TLS_CERT][0]) {
        if (SSL_CTX_use_certificate_chain_file(context, tls->files[TLS_CERT]) != 1)
            return tls_fail(err, TLS_CERT, tls);
        /* also refuses a key that is not the certificate's */
        if (SSL_CTX_use_PrivateKey_file(context, tls->files[TLS_KEY], SSL_FILETYPE_PEM) != 1)
            return tls_fail(err, TLS_KEY, tls);
    }
    *ret_context = TAKE(context);
    return 0;
}

static int tls_look(const struct redis_tls *tls, struct file_stamp *ret_stamps, struct err *err)
{
    for (size_t i = 0; i < REDIS_TLS_FILES; i++) {
        ret_stamps[i] = (struct file_stamp){0};
        if (!tls->files[i][0])
            continue;
        int rc = file_stamp_take(tls->files[i], TLS_FILE_MAX, &ret_stamps[i], err);
        if (rc < 0)
            return err_wrap(err, "%s", tls_keys[i]);
    }
    return 0;
}

/* Takes the files again if one changed; on failure the last good ones stay in use. */
static int tls_refresh(struct redis_tls *tls, struct err *err)
{
    struct file_stamp stamps[REDIS_TLS_FILES];
    int rc = tls_look(tls, stamps, err);
    if (rc < 0)
        return rc;
    bool same = true;
    for (size_t i = 0; i < REDIS_TLS_FILES; i++)
        same &= file_stamp_eq(&stamps[i], &tls->stamps[i]);
    if (same && tls->context)
        return 0;
    SSL_CTX *context = NULL;
    rc = tls_load(tls, &context, err);
    if (rc < 0)
        return rc;
    if (tls->context)
        LOG(LOG_INFO, "certificates_changed", LOG_S("file", tls->files[TLS_CA]));
    SSL_CTX_free(tls->context);
    tls->context = context;
    memcpy(tls->stamps, stamps, sizeof stamps);
    return 0;
}

struct ssl_st *redis_tls_new_end(struct redis_tls *tls, const char *ip, struct err *err)
{
    struct err why = {0};
    int rc = tls_refresh(tls, &why);
    if (rc < 0 && !tls->said)
        LOG(LOG_WARN, "certificates", LOG_S("msg", "the files of redis.tls cannot be used"),
            LOG_S("reason", why.msg));
    tls->said = rc < 0;
    if (!tls->context) {
        *err = why;
        return NULL;
    }
    SSL *end = SSL_new(tls->context);
    assert(end); /* NULL is out of memory */
    X509_VERIFY_PARAM *expected = SSL_get0_param(end);
    X509_VERIFY_PARAM_set_hostflags(expected, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
                                                  X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    bool set = tls->server_name[0]
                   ? X509_VERIFY_PARAM_set1_host(expected, tls->server_name, 0) == 1 &&
                         SSL_set_tlsext_host_name(end, tls->server_name) == 1
                   : X509_VERIFY_PARAM_set1_ip_asc(expected, ip) == 1;
    assert(set); /* both were judged before: a DNS name, a literal address */
    (void)set;
    return end;
}

void redis_tls_drop(struct ssl_st *end)
{
    SSL_free(end);
}

bool redis_tls_is_secure(const struct ssl_st *end)
{
    return SSL_is_init_finished(end);
}

void redis_tls_clear(void)
{
    ERR_clear_error();
}

static void tls_explain_certificate(long verdict, char why[REDIS_TLS_WHY_SIZE])
{
    const char *text = X509_verify_cert_error_string(verdict);
    const char *more = "";
    if (verdict == X509_V_ERR_HOSTNAME_MISMATCH)
        more = ": it does not name redis.tls.serverName";
    else if (verdict == X509_V_ERR_IP_ADDRESS_MISMATCH)
        more = ": it does not name the address, and redis.tls.serverName is not set";
    text_format(why, REDIS_TLS_WHY_SIZE, "the server's certificate is refused: %s%s", text, more);
}

/* What an alert of the server means for whoever configured us. */
static const char *tls_hint(int reason)
{
    switch (reason) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        return "the server wants a client certificate (redis.tls.certFile)";
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
        return "the server refuses our certificate (redis.tls.certFile)";
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
        return "the server does not speak TLS";
    default:
        return "TLS failed";
    }
}

bool redis_tls_explain(const struct ssl_st *end, char why[REDIS_TLS_WHY_SIZE])
{
    why[0] = '\0';
    long verdict = SSL_get_verify_result(end);
    if (verdict != X509_V_OK) {
        tls_explain_certificate(verdict, why);
        return true;
    }
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    if (reason)
        text_format(why, REDIS_TLS_WHY_SIZE, "%s: %s", tls_hint(ERR_GET_REASON(code)), reason);
    return false;
}
