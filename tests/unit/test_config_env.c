/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "wire/config_yaml.h"

static struct config config;
static struct err err;

static int setup(void **state)
{
    (void)state;
    memset(&config, 0, sizeof config);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    config_deinit(&config);
    return 0;
}

/* An environment of one variable. */
static int parse(const char *yaml, const char *variable)
{
    auto_free char *copy = xstrdup(variable);
    char *const environment[] = {copy, NULL};
    config_deinit(&config);
    err = (struct err){0};
    return config_parse(span_of(yaml), "muster.yaml", environment, &config, &err);
}

static void assert_accepted(const char *yaml, const char *variable)
{
    if (parse(yaml, variable) < 0)
        fail_msg("%s %s: %s", yaml, variable, err.msg);
}

static void assert_refused(const char *yaml, const char *variable, const char *message)
{
    int r = parse(yaml, variable);
    if (r != E_INVALID || strncmp(err.msg, message, strlen(message)) != 0)
        fail_msg("%s %s: %d '%s', not '%s'", yaml, variable, r, err.msg, message);
}

static void test_the_environment_wins(void **state)
{
    (void)state;
    const char *yaml = "redis:\n  port: 7000\nstatic:\n  peers: [a:1, b:2]\n";
    assert_accepted(yaml, "MUSTER_REDIS_PORT=7001");
    assert_int_equal(config.redis.port, 7001);
    assert_accepted(yaml, "MUSTER_STATIC_PEERS=c:3");
    assert_int_equal(config.static_list.peer_count, 1);
    assert_string_equal(config.static_list.peers[0].host, "c");
    assert_accepted(yaml, "MUSTER_STATIC_PEERS=");
    assert_int_equal(config.static_list.peer_count, 0);
    assert_accepted(yaml, "MUSTER_STATIC_PEERS=10.0.0.1:1,[::1]:2,c.d:3");
    assert_int_equal(config.static_list.peer_count, 3);
    assert_accepted("", "MUSTER_KUBERNETES_APISERVER=http://127.0.0.1:8001");
    assert_string_equal(config.kubernetes.api_server, "http://127.0.0.1:8001");
    assert_accepted("", "MUSTER_REDIS_TLS_ENABLED=true");
    assert_true(config.redis.tls.enabled);
    assert_accepted("", "MUSTER_REDIS_USERNAME=");
    assert_accepted("", "OTHER=x");
    assert_accepted("", "MUSTER_NOT_A_PAIR");
}

static void test_malformed_variables_are_refused(void **state)
{
    (void)state;
    assert_refused("", "MUSTER_REDIS_PORT=0",
                   "MUSTER_REDIS_PORT: 0: a whole number from 1 to 55535");
    assert_refused("", "MUSTER_REDIS_PORT=", "MUSTER_REDIS_PORT: : a whole number");
    assert_refused("", "MUSTER_LOG_LEVEL=loud",
                   "MUSTER_LOG_LEVEL: loud: one of error, warn, info, debug");
    assert_refused("", "MUSTER_LOG_LEVEL=a\nb\x1b", "MUSTER_LOG_LEVEL: a?b?: one of");
    assert_refused("", "MUSTER_STATIC_PEERS=a:1,,b:2",
                   "MUSTER_STATIC_PEERS: : a list of host:port");
    assert_refused("", "MUSTER_STATIC_PEERS=a:1,a:1", "MUSTER_STATIC_PEERS: a:1: a list of");
    assert_refused("", "MUSTER_REDIS_PROT=1", "MUSTER_REDIS_PROT: unknown variable");
    assert_refused("", "MUSTER_=1", "MUSTER_: unknown variable");
    assert_refused("", "MUSTER_REDIS=1", "MUSTER_REDIS: unknown variable");
    /* What was meant as a password is not repeated. */
    assert_refused("", "MUSTER_REDIS_PASSWORD=secret", "MUSTER_REDIS_PASSWORD: unknown variable");
    assert_null(strstr(err.msg, "secret"));
    char longer[400] = "MUSTER_";
    memset(longer + 7, 'X', 300);
    text_append(longer, sizeof longer, "=1");
    assert_refused("", longer, "MUSTER_XXXX");
}

static void test_service_links_are_not_ours(void **state)
{
    (void)state;
    static const char *const links[] = {
        "MUSTER_SERVICE_HOST=10.0.0.1",
        "MUSTER_SERVICE_PORT=6379",
        "MUSTER_SERVICE_PORT_REDIS=6379",
        "MUSTER_PORT=tcp://10.0.0.1:6379",
        "MUSTER_PORT_6379_TCP=tcp://10.0.0.1:6379",
        "MUSTER_PORT_6379_TCP_PROTO=tcp",
        "MUSTER_PORT_6379_TCP_PORT=6379",
        "MUSTER_PORT_6379_TCP_ADDR=10.0.0.1",
        "MUSTER_PORT_6379_UDP_ADDR=10.0.0.1",
        "MUSTER_PORT_6379_SCTP=sctp://10.0.0.1:6379",
        "MUSTER_REDIS_SERVICE_HOST=10.0.0.1",
        "MUSTER_REDIS_PORT=tcp://10.0.0.1:6379",
        "MUSTER_HTTP_PORT=tcp://[fd00::1]:8008",
        "MUSTER_TEST_ANYTHING=1",
    };
    for (size_t i = 0; i < ARRAY_LEN(links); i++)
        assert_accepted("", links[i]);
    assert_int_equal(config.redis.port, 6379);
    assert_refused("", "MUSTER_PORT=6379", "MUSTER_PORT: unknown variable");
    assert_refused("", "MUSTER_PORT_X_TCP=1", "MUSTER_PORT_X_TCP: unknown variable");
    assert_refused("", "MUSTER_PORT_1_TCPX=1", "MUSTER_PORT_1_TCPX: unknown variable");
    assert_refused("", "MUSTER_SERVICE_HOSTS=1", "MUSTER_SERVICE_HOSTS: unknown variable");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_environment_wins, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed_variables_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_service_links_are_not_ours, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
