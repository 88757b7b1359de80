/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "wire/config_yaml.h"
#include "wire_sample.h"

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

static int parse(const char *yaml)
{
    config_deinit(&config);
    err = (struct err){0};
    return config_parse(span_of(yaml), "muster.yaml", NULL, &config, &err);
}

static void assert_accepted(const char *yaml)
{
    if (parse(yaml) < 0)
        fail_msg("%s: %s", yaml, err.msg);
}

static void assert_refused(const char *yaml, const char *message)
{
    int r = parse(yaml);
    if (r != E_INVALID || strncmp(err.msg, message, strlen(message)) != 0)
        fail_msg("%s: %d '%s', not '%s'", yaml, r, err.msg, message);
}

static void test_defaults(void **state)
{
    (void)state;
    assert_int_equal(config_parse((struct span){NULL, 0}, "-", NULL, &config, &err), 0);
    assert_int_equal(config.discovery, DISCOVERY_KUBERNETES);
    assert_string_equal(config.kubernetes.api_server, "");
    assert_string_equal(config.kubernetes.ca_file, "");
    assert_string_equal(config.kubernetes.token_file, "");
    assert_string_equal(config.kubernetes.namespace, "");
    assert_string_equal(config.kubernetes.stateful_set, "");
    assert_int_equal(config.kubernetes.lease_seconds, 15);
    assert_string_equal(config.dns.name, "");
    assert_int_equal(config.dns.port, 6379);
    assert_int_equal(config.static_list.peer_count, 0);
    assert_int_equal(config.cluster.replicas_per_primary, 1);
    assert_int_equal(config.cluster.size, 0);
    assert_string_equal(config.cluster.zone, "");
    assert_string_equal(config.redis.host, "127.0.0.1");
    assert_int_equal(config.redis.port, 6379);
    assert_string_equal(config.redis.username, "");
    assert_string_equal(config.redis.password_file, "");
    assert_false(config.redis.tls.enabled);
    assert_string_equal(config.redis.tls.server_name, "");
    assert_string_equal(config.http.address, "::");
    assert_int_equal(config.http.port, 8008);
    assert_string_equal(config.hook.socket, "/run/muster/agent.sock");
    assert_int_equal(config.hook.silent_seconds, 30);
    assert_int_equal(config.log.level, LOG_INFO);
    assert_int_equal(config.log.format, LOG_LOGFMT);
    assert_int_equal(config.policy.crash_handover, HANDOVER_AUTO);
    assert_int_equal(config.policy.handover_max_lag, 0);
    assert_int_equal(config.policy.big_key_bytes, 1048576);
    assert_int_equal(config.policy.lost_cluster, LOST_WAIT);
    assert_int_equal(config.policy.placement, PLACEMENT_ENFORCE);
    assert_int_equal(config.policy.placement_min_interval, 600);
    assert_int_equal(config.policy.scaling, SCALING_POLICY_OFF);
    assert_int_equal(config_check(&config, &err), 0);
}

static void test_a_file_with_everything(void **state)
{
    (void)state;
    size_t len;
    auto_free char *yaml = wire_sample("config_yaml/everything", &len);
    assert_accepted(yaml);
    assert_int_equal(config.discovery, DISCOVERY_STATIC);
    assert_string_equal(config.kubernetes.api_server, "https://[fd00::1]:6443");
    assert_string_equal(config.kubernetes.ca_file, "/etc/ca.crt");
    assert_string_equal(config.kubernetes.token_file, "/etc/token");
    assert_string_equal(config.kubernetes.namespace, "data");
    assert_string_equal(config.kubernetes.stateful_set, "muster");
    assert_int_equal(config.kubernetes.lease_seconds, 20);
    assert_string_equal(config.dns.name, "redis.example");
    assert_int_equal(config.dns.port, 6380);
    assert_int_equal(config.static_list.peer_count, 3);
    assert_string_equal(config.static_list.peers[0].host, "10.0.0.1");
    assert_int_equal(config.static_list.peers[0].port, 6379);
    assert_string_equal(config.static_list.peers[1].host, "fd00::2");
    assert_string_equal(config.static_list.peers[2].host, "redis-2.example");
    assert_int_equal(config.cluster.replicas_per_primary, 2);
    assert_int_equal(config.cluster.size, 9);
    assert_string_equal(config.cluster.zone, "eu-1a");
    assert_string_equal(config.redis.host, "::1");
    assert_int_equal(config.redis.port, 7000);
    assert_string_equal(config.redis.username, "muster");
    assert_string_equal(config.redis.password_file, "/etc/password");
    assert_true(config.redis.tls.enabled);
    assert_string_equal(config.redis.tls.ca_file, "/tls/ca.crt");
    assert_string_equal(config.redis.tls.cert_file, "/tls/tls.crt");
    assert_string_equal(config.redis.tls.key_file, "/tls/tls.key");
    assert_string_equal(config.redis.tls.server_name, "redis.example");
    assert_string_equal(config.http.address, "0.0.0.0");
    assert_int_equal(config.http.port, 9000);
    assert_string_equal(config.hook.socket, "/tmp/agent.sock");
    assert_int_equal(config.hook.silent_seconds, 60);
    assert_int_equal(config.log.level, LOG_DEBUG);
    assert_int_equal(config.log.format, LOG_JSON);
    assert_int_equal(config.policy.crash_handover, HANDOVER_ALWAYS);
    assert_int_equal(config.policy.handover_max_lag, INT64_C(1) << 33);
    assert_int_equal(config.policy.lost_cluster, LOST_REFORM);
    assert_int_equal(config.policy.placement, PLACEMENT_OFF);
    assert_int_equal(config.policy.placement_min_interval, 0);
}

/* The design's own text: the defaults, written out in flow style. */
static void test_the_designs_file_is_the_defaults(void **state)
{
    (void)state;
    size_t len;
    auto_free char *yaml = wire_sample("config_yaml/defaults", &len);
    assert_accepted("");
    struct config defaults = config;
    assert_accepted(yaml);
    assert_memory_equal(&config, &defaults, sizeof config);
}

static void test_files_that_are_no_such_mapping(void **state)
{
    (void)state;
    static const struct {
        const char *yaml;
        const char *message;
    } cases[] = {
        {"redis", "muster.yaml:1: not a mapping"},
        {"- redis", "muster.yaml:1: not a mapping"},
        {"redis:\n  prot: 1", "muster.yaml:2: redis.prot: unknown key; known here: host, port, "
                              "username, passwordFile, tls"},
        {"log: {level: info}\nfoo: 1", "muster.yaml:2: foo: unknown key; known here: discovery, "
                                       "kubernetes, dns,"},
        {"redis.host: 10.0.0.1", "muster.yaml:1: redis.host: unknown key"},
        {"redis: {tls: {tls.enabled: true}}", "muster.yaml:1: redis.tls.tls.enabled: unknown"},
        {"redis: {tls.enabled: true}", "muster.yaml:1: redis.tls.enabled: unknown"},
        {"\"log\\0x\": {}", "muster.yaml:1: log?x: unknown key"},
        {"\"\": 1", "muster.yaml:1: unknown key; known here"},
        {"? [a]\n: 1", "muster.yaml:1: a nested value: unknown key"},
        {"? {a: 1}\n: 1", "muster.yaml:1: a nested value: unknown key"},
        {"<<: {discovery: dns}", "muster.yaml:1: <<: unknown key"},
        {"log:\n  level: info\n  level: debug", "muster.yaml:3: log.level: given twice"},
        {"log: {}\nlog: {}", "muster.yaml:2: log: given twice"},
        {"log:\nhook: {}", "muster.yaml:1: log: no value: a mapping of its keys"},
        {"log: info", "muster.yaml:1: log: info: a mapping of its keys"},
        {"log: [info]", "muster.yaml:1: log: a list: a mapping of its keys"},
        {"log: {level: [info]}", "muster.yaml:1: log.level: a list: one of error"},
        {"log: {level: {a: 1}}", "muster.yaml:1: log.level: a mapping: one of error"},
        {"static: {peers: a:1}", "muster.yaml:1: static.peers: a single value: a list of host"},
        {"static: {peers: {a: 1}}", "muster.yaml:1: static.peers: a mapping: a list of host"},
        {"static: {peers: [[a:1]]}", "muster.yaml:1: static.peers: a nested value: a list"},
        {"static:\n  peers:\n  - a:1\n  - a:1", "muster.yaml:4: static.peers: a:1: a list of"},
        {"log: &a {level: info}", "muster.yaml:1: anchors and tags are not allowed"},
        {"log: {level: &a info}", "muster.yaml:1: anchors and tags are not allowed"},
        {"static: {peers: &a []}", "muster.yaml:1: anchors and tags are not allowed"},
        {"static: {peers: !!seq []}", "muster.yaml:1: anchors and tags are not allowed"},
        {"static: {peers: [*a]}", "muster.yaml:1: aliases are not allowed"},
        {"log: *a", "muster.yaml:1: aliases are not allowed"},
        {"log: !!map {}", "muster.yaml:1: anchors and tags are not allowed"},
        {"redis: {port: !!int 1}", "muster.yaml:1: anchors and tags are not allowed"},
        {"log: {}\n---\nhook: {}", "muster.yaml:2: only one document is allowed"},
        {"log: {}\n--- [", "muster.yaml:2: only one document is allowed"},
        {"log: {}\n...\n%YAML x", "muster.yaml:3: not YAML:"},
        {"log: {level: info", "muster.yaml:1: not YAML:"},
        {"log: {}\n\tx: 1", "muster.yaml:2: not YAML:"},
        {"log: {}\n# \xff", "muster.yaml:2: not YAML:"},
        {"\n\n# \x01", "muster.yaml:3: not YAML:"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_refused(cases[i].yaml, cases[i].message);
    err = (struct err){0};
    static const char nul[] = "log: {}\n\0";
    assert_int_equal(config_parse((struct span){nul, sizeof nul - 1}, "f", NULL, &config, &err),
                     E_INVALID);
    assert_int_equal(strncmp(err.msg, "f:2: not YAML: ", 15), 0);
    static const char utf16[] = "\xff\xfel\0o\0g\0:\0 \0{\0}\0";
    assert_int_equal(config_parse((struct span){utf16, sizeof utf16 - 1}, "f", NULL, &config, &err),
                     E_INVALID);
}

static void test_empty_and_harmless_files(void **state)
{
    (void)state;
    static const char *const files[] = {
        "",
        "\n",
        "# nothing\n",
        "{}",
        "---\n{}\n...\n",
        "\xef\xbb\xbflog: {}\n",
        "log: {}",
        "%YAML 1.1\n---\nlog: {level: 'info'}\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        assert_accepted(files[i]);
}

static void test_values_are_judged_by_their_type(void **state)
{
    (void)state;
    static const struct {
        const char *yaml;
        const char *message; /* NULL = allowed */
    } cases[] = {
        {"discovery: dns", NULL},
        {"discovery: DNS", "muster.yaml:1: discovery: DNS: one of kubernetes, dns, static"},
        {"discovery:", "muster.yaml:1: discovery: no value: one of"},
        {"redis: {port: 55535}", NULL},
        {"redis: {port: 55536}",
         "muster.yaml:1: redis.port: 55536: a whole number from 1 to 55535, without quotes"},
        {"redis: {port: 0}", "muster.yaml:1: redis.port: 0: "},
        {"redis: {port: -1}", "muster.yaml:1: redis.port: -1: "},
        {"redis: {port: \"6379\"}", "muster.yaml:1: redis.port: 6379: a whole number"},
        {"redis: {port: 6379.0}", "muster.yaml:1: redis.port: 6379.0: "},
        {"redis: {port: 0x18eb}", "muster.yaml:1: redis.port: 0x18eb: "},
        {"redis: {port: 6_379}", "muster.yaml:1: redis.port: 6_379: "},
        {"redis: {port: ~}", "muster.yaml:1: redis.port: ~: "},
        {"kubernetes: {leaseSeconds: 15s}", "muster.yaml:1: kubernetes.leaseSeconds: 15s: "},
        {"kubernetes: {leaseSeconds: 1}", "muster.yaml:1: kubernetes.leaseSeconds: 1: "},
        {"kubernetes: {leaseSeconds: 2}", NULL},
        {"kubernetes: {leaseSeconds: 300}", NULL},
        {"kubernetes: {leaseSeconds: 301}", "muster.yaml:1: kubernetes.leaseSeconds: 301: "},
        {"cluster: {replicasPerPrimary: 0}", NULL},
        {"cluster: {replicasPerPrimary: 11}", "muster.yaml:1: cluster.replicasPerPrimary: 11: "},
        {"cluster: {size: 1000}", NULL},
        {"cluster: {size: 1001}", "muster.yaml:1: cluster.size: 1001: "},
        {"policy: {bigKeyBytes: 0}", NULL},
        {"policy: {bigKeyBytes: -1}", "muster.yaml:1: policy.bigKeyBytes: "},
        {"policy: {handoverMaxLag: 1099511627776}", NULL},
        {"policy: {handoverMaxLag: 1099511627777}", "muster.yaml:1: policy.handoverMaxLag: "},
        {"policy: {handoverMaxLag: 99999999999999999999}", "muster.yaml:1: policy.handover"},
        {"redis: {tls: {enabled: true}}", NULL},
        {"redis: {tls: {enabled: yes}}", "muster.yaml:1: redis.tls.enabled: yes: true or false"},
        {"redis: {tls: {enabled: 'true'}}", "muster.yaml:1: redis.tls.enabled: true: "},
        {"policy: {crashHandover: off}", NULL},
        {"policy: {crashHandover: false}", "muster.yaml:1: policy.crashHandover: false: one of"},
        {"kubernetes: {namespace: 123}", NULL},
        {"kubernetes: {namespace: null}", "muster.yaml:1: kubernetes.namespace: null: "},
        {"kubernetes: {namespace: 'null'}", NULL},
        {"kubernetes: {namespace: ''}", NULL},
        {"kubernetes: {namespace: ../x}", "muster.yaml:1: kubernetes.namespace: ../x: "},
        {"kubernetes: {caFile: relative}", "muster.yaml:1: kubernetes.caFile: relative: an abs"},
        {"kubernetes: {caFile: \"/a\\0b\"}", "muster.yaml:1: kubernetes.caFile: /a?b: an abs"},
        {"hook: {socket: ''}", "muster.yaml:1: hook.socket: no value: an absolute path"},
        {"hook: {socket: /run/\u00e9}", "muster.yaml:1: hook.socket: /run/??: an absolute"},
        {"redis: {host: localhost}", "muster.yaml:1: redis.host: localhost: a literal IPv4"},
        {"redis: {host: '[127.0.0.1]'}", "muster.yaml:1: redis.host: [127.0.0.1]: a literal"},
        {"redis: {host: '[::1]'}", NULL},
        {"redis: {host: ''}", "muster.yaml:1: redis.host: no value: a literal"},
        {"http: {address: '::'}", NULL},
        {"redis: {username: 'a b'}", "muster.yaml:1: redis.username: a b: an ACL user"},
        {"cluster: {zone: 'eu 1'}", "muster.yaml:1: cluster.zone: eu 1: a zone"},
        {"dns: {name: a_b}", "muster.yaml:1: dns.name: a_b: a DNS name"},
        {"redis: {tls: {serverName: '*.example'}}", "muster.yaml:1: redis.tls.serverName: *.exa"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (cases[i].message)
            assert_refused(cases[i].yaml, cases[i].message);
        else
            assert_accepted(cases[i].yaml);
    }
}

static void test_api_server(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        bool allowed;
    } cases[] = {
        {"https://10.0.0.1", true},
        {"https://10.0.0.1:6443", true},
        {"https://[fd00::1]", true},
        {"https://[fd00::1]:6443", true},
        {"http://127.0.0.1:8001", true},
        {"http://127.0.0.2", true},
        {"http://[::1]:8001", true},
        {"http://10.0.0.1:8001", false},
        {"https://kubernetes.default.svc", false},
        {"https://10.0.0.1/path", false},
        {"https://10.0.0.1:6443/", false},
        {"https://user@10.0.0.1", false},
        {"https://10.0.0.1:", false},
        {"https://10.0.0.1:0", false},
        {"https://10.0.0.1:65536", false},
        {"https://[fd00::1", false},
        {"https://[10.0.0.1]", false},
        {"https://", false},
        {"10.0.0.1", false},
        {"ftp://10.0.0.1", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char yaml[100];
        text_format(yaml, sizeof yaml, "kubernetes: {apiServer: '%s'}", cases[i].url);
        if (cases[i].allowed)
            assert_accepted(yaml);
        else
            assert_refused(yaml, "muster.yaml:1: kubernetes.apiServer: ");
    }
}

static void test_peers(void **state)
{
    (void)state;
    static const char *const malformed[] = {
        "a",        "a:",    ":1",  "a:0",     "a:55536", "'[::1]'",
        "'::1:1x'", "a b:1", "A:1", "'[a]:1'", "~",       "",
    };
    for (size_t i = 0; i < ARRAY_LEN(malformed); i++) {
        char yaml[100];
        text_format(yaml, sizeof yaml, "static:\n  peers:\n  - b:1\n  - %s\n", malformed[i]);
        assert_refused(yaml, "muster.yaml:4: static.peers: ");
        assert_int_equal(config.static_list.peer_count, 0);
    }
    struct buf yaml;
    buf_init(&yaml, CONFIG_TEXT_MAX);
    (void)buf_append_str(&yaml, "static: {peers: [");
    for (int i = 0; i < NODES_MAX; i++)
        (void)buf_format(&yaml, "p-%d:6379,", i);
    assert_int_equal(buf_append_str(&yaml, "]}"), 0);
    assert_accepted(buf_str(&yaml));
    assert_int_equal(config.static_list.peer_count, NODES_MAX);
    auto_free char *more = wire_replace(buf_str(&yaml), "p-0:", "p:1,p-0:");
    assert_refused(more, "muster.yaml:1: static.peers: p-999:6379: ");
    buf_deinit(&yaml);
}

static void test_sizes_are_bounded(void **state)
{
    (void)state;
    auto_free char *bytes = xcalloc(CONFIG_TEXT_MAX + 1, 1);
    memset(bytes, '#', CONFIG_TEXT_MAX + 1);
    assert_int_equal(config_parse((struct span){bytes, CONFIG_TEXT_MAX}, "f", NULL, &config, &err),
                     0);
    assert_int_equal(
        config_parse((struct span){bytes, CONFIG_TEXT_MAX + 1}, "f", NULL, &config, &err), E_LIMIT);
    memset(bytes, '[', CONFIG_TEXT_MAX);
    assert_int_equal(config_parse((struct span){bytes, CONFIG_TEXT_MAX}, "f", NULL, &config, &err),
                     E_INVALID);
    char path[400] = "kubernetes: {caFile: /";
    memset(path + strlen(path), 'x', CONFIG_PATH_SIZE - 2);
    text_append(path, sizeof path, "}");
    assert_accepted(path);
    auto_free char *longer = wire_replace(path, "x}", "xx}");
    assert_refused(longer, "muster.yaml:1: kubernetes.caFile: /xxx");
    assert_non_null(strstr(err.msg, ": an absolute path of at most 255 bytes"));
}

static void test_rules_between_keys(void **state)
{
    (void)state;
    static const struct {
        const char *yaml;
        const char *message; /* NULL = allowed */
    } cases[] = {
        {"redis: {username: a, passwordFile: /p}", NULL},
        {"redis: {passwordFile: /p}", NULL},
        {"redis: {username: a}", "redis.passwordFile: needed"},
        {"redis: {tls: {certFile: /c, keyFile: /k}}", NULL},
        {"redis: {tls: {certFile: /c}}", "redis.tls.certFile, redis.tls.keyFile: both"},
        {"redis: {tls: {keyFile: /c}}", "redis.tls.certFile, redis.tls.keyFile: both"},
        {"redis: {tls: {enabled: true}}", "redis.tls.caFile: needed with redis.tls.enabled"},
        {"redis: {tls: {enabled: true, caFile: /c}}", NULL},
        {"cluster: {size: 6}", "cluster.size: not with"},
        {"cluster: {zone: a}", "cluster.zone: not with"},
        {"discovery: dns", "dns.name: needed"},
        {"{discovery: dns, dns: {name: a.b}}", "cluster.size: needed"},
        {"{discovery: dns, dns: {name: a.b}, cluster: {size: 6, zone: a}}", NULL},
        {"{discovery: dns, dns: {name: a.b, server: '[::1]:8600'}, cluster: {size: 30}}", NULL},
        {"{discovery: dns, dns: {name: a.b}, cluster: {size: 31}}",
         "cluster.size: at most 30 with discovery: dns"},
        {"{discovery: dns, dns: {name: a.b, port: 7000}, cluster: {size: 6}}",
         "dns.port, redis.port: "},
        {"{discovery: dns, dns: {name: a.b, port: 7000}, cluster: {size: 6}, redis: {port: 7000}}",
         NULL},
        {"discovery: static", "static.peers: needed"},
        {"{discovery: static, static: {peers: [a:1]}}", NULL},
        {"{discovery: static, static: {peers: [a:1, 'b:1']}, cluster: {size: 2}}", NULL},
        {"{discovery: static, static: {peers: [a:1, 'b:1']}, cluster: {size: 3}}",
         "cluster.size: with discovery: static"},
        {"{discovery: static, static: {peers: [a:1, 'a:2']}}", "static.peers: a host can have one"},
        {"{discovery: static, static: {peers: "
         "[abcdefghijabcdefghijabcdefghijabcdefghijabcdefghij12345:1]}}",
         NULL},
        {"{discovery: static, static: {peers: "
         "[abcdefghijabcdefghijabcdefghijabcdefghijabcdefghij123456:1]}}",
         "static.peers: a host's name can have at most 55 characters"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_accepted(cases[i].yaml);
        int r = config_check(&config, &err);
        assert_int_equal(r, cases[i].message ? E_INVALID : 0);
        if (cases[i].message && strncmp(err.msg, cases[i].message, strlen(cases[i].message)) != 0)
            fail_msg("%s: %s", cases[i].yaml, err.msg);
    }
}

static void test_the_description_names_every_key(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, KIB(16));
    assert_int_equal(config_describe(&text), 0);
    assert_non_null(strstr(buf_str(&text), "kubernetes.apiServer          "
                                           "MUSTER_KUBERNETES_APISERVER          default \"\""));
    assert_non_null(strstr(buf_str(&text), "log.level"));
    assert_non_null(strstr(buf_str(&text), "one of error, warn, info, debug\n"));
    assert_non_null(strstr(buf_str(&text), "default [::]"));
    size_t lines = 0;
    for (const char *p = buf_str(&text); *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 36);
    buf_deinit(&text);
    buf_init(&text, 100);
    assert_int_equal(config_describe(&text), E_LIMIT);
    buf_deinit(&text);
}

static void test_every_mutation_of_a_file(void **state)
{
    (void)state;
    size_t len;
    auto_free char *sample = wire_sample("config_yaml/everything", &len);
    auto_free char *mutated = xcalloc(len + 2, 1);
    size_t refused = 0;
    for (size_t at = 0; at < len; at++) {
        for (unsigned kind = 0; kind < WIRE_MUTATIONS; kind++) {
            size_t size = wire_mutate((struct span){sample, len}, at, kind, mutated);
            struct span text = wire_exact((struct span){mutated, size});
            struct config got;
            err = (struct err){0};
            memset(&got, 0, sizeof got);
            if (config_parse(text, "f", NULL, &got, &err) < 0) {
                assert_int_equal(strncmp(err.msg, "f:", 2), 0);
                assert_int_equal(got.discovery, 0);
                refused++;
            }
            config_deinit(&got);
            free((void *)(uintptr_t)text.ptr);
        }
    }
    assert_in_range(refused, len * 6, len * WIRE_MUTATIONS - len / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_file_with_everything, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_designs_file_is_the_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_files_that_are_no_such_mapping, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty_and_harmless_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values_are_judged_by_their_type, setup, teardown),
        cmocka_unit_test_setup_teardown(test_api_server, setup, teardown),
        cmocka_unit_test_setup_teardown(test_peers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sizes_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rules_between_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_description_names_every_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_mutation_of_a_file, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
