/* SPDX-License-Identifier: Apache-2.0 */
/* The start: arguments and environment -> configuration -> agent or command -> exit code. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "cli/cli.h"
#include "io/clock.h"
#include "wire/config_table.h"

#define EXIT_CONFIG 2

static int read_file(const char *path, struct buf *ret_text, struct err *err)
{
    struct stat st;
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe would hold us up */
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(err, errno, "%s", path);
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) /* of a directory read() says so itself */
        return err_set(err, E_INVALID, "%s: not a regular file", path);
    char chunk[4096];
    ssize_t got;
    while ((got = read(fd, chunk, sizeof chunk)) > 0)
        if (buf_append(ret_text, chunk, (size_t)got) < 0)
            return err_set(err, E_LIMIT, "%s: longer than %zu bytes", path, CONFIG_TEXT_MAX);
    if (got < 0)
        return err_errno(err, errno, "%s", path);
    return 0;
}

static int read_config(const char *path, struct config *ret_config, struct err *err)
{
    auto_buf struct buf text;
    buf_init(&text, CONFIG_TEXT_MAX);
    int r = path ? read_file(path, &text, err) : 0;
    if (r < 0)
        return r;
    struct span yaml = {buf_str(&text), text.len};
    r = config_parse(yaml, path ? path : "(no file)", environ, ret_config, err);
    if (r < 0)
        return r;
    r = config_check(ret_config, err);
    if (r < 0)
        config_deinit(ret_config);
    return r;
}

/* Each from the downward API; without one of them the agent cannot know who it is. */
static int read_identity(struct identity *identity, struct err *err)
{
    const struct {
        const char *name;
        const char **value;
        bool (*is_valid)(struct span);
        size_t size; /* with its NUL */
        const char *what;
    } wanted[] = {
        {"POD_NAME", &identity->pod_name, kube_is_label, KUBE_LABEL_SIZE, "a pod's name"},
        {"POD_NAMESPACE", &identity->pod_namespace, kube_is_label, KUBE_LABEL_SIZE,
         "a namespace's name"},
        {"POD_UID", &identity->pod_uid, text_is_plain, UID_SIZE, "a pod's uid"},
        {"POD_IP", &identity->pod_ip, kube_is_address, KUBE_LABEL_SIZE, "an IP address"},
    };
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        const char *value = getenv(wanted[i].name);
        if (!value || !value[0])
            return err_set(err, E_INVALID,
                           "environment variable %s is not set: give it by the downward API "
                           "(fieldRef)",
                           wanted[i].name);
        if (strlen(value) >= wanted[i].size || !wanted[i].is_valid(span_of(value))) {
            char shown[CONFIG_SHOWN_SIZE];
            config_show(span_of(value), shown);
            return err_set(err, E_INVALID, "%s: %s: not %s", wanted[i].name, shown, wanted[i].what);
        }
        *wanted[i].value = value;
    }
    return 0;
}

/* Without Kubernetes all of it can be found out; what is given is believed. */
static int read_host_identity(struct identity *identity, struct err *err)
{
    static char host[CONFIG_HOST_SIZE];
    const char *name = getenv("POD_NAME");
    const char *ip = getenv("POD_IP");
    if (gethostname(host, sizeof host - 1) < 0)
        return err_errno(err, errno, "the name of this host");
    *identity = (struct identity){
        .pod_name = name && name[0] ? name : host,
        .pod_namespace = "",
        .pod_uid = HOSTS_SELF,
        .pod_ip = ip ? ip : "",
    };
    if (identity->pod_ip[0] && !kube_is_address(span_of(identity->pod_ip))) {
        char shown[CONFIG_SHOWN_SIZE];
        config_show(span_of(identity->pod_ip), shown);
        return err_set(err, E_INVALID, "POD_IP: %s: not an IP address", shown);
    }
    return 0;
}

static int run_agent(const char *config_path)
{
    struct config config;
    struct identity identity = {0};
    struct err err = {0};
    if (read_config(config_path, &config, &err) < 0) {
        (void)fprintf(stderr, "muster agent: %s\n", err.msg);
        return EXIT_CONFIG;
    }
    int code = EXIT_CONFIG;
    int r = config.discovery == DISCOVERY_KUBERNETES ? read_identity(&identity, &err)
                                                     : read_host_identity(&identity, &err);
    if (r < 0) {
        (void)fprintf(stderr, "muster agent: %s\n", err.msg);
    } else {
        log_setup(config.log.level, config.log.format, identity.pod_name);
        log_set_clock(clock_unix_ms);
        code = agent_run(&config, &identity);
    }
    config_deinit(&config);
    return code;
}

static int describe_config(void)
{
    auto_buf struct buf text;
    buf_init(&text, CONFIG_TEXT_MAX);
    if (config_describe(&text) < 0)
        return 1;
    (void)fwrite(buf_str(&text), 1, text.len, stdout);
    return 0;
}

static int agent_main(int argc, char **argv)
{
    const char *config_path = NULL;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
            config_path = argv[++i];
        } else if (strcmp(argv[i], "--help-config") == 0) {
            return describe_config();
        } else {
            (void)fprintf(stderr,
                          "muster agent: %s: not understood\n"
                          "usage: muster agent [--config FILE] [--help-config]\n",
                          argv[i]);
            return EXIT_CONFIG;
        }
    }
    /* The agent holds passwords and a token: no core files, no tracing by others of our uid. */
    (void)prctl(PR_SET_DUMPABLE, 0);
    return run_agent(config_path);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "agent") == 0)
        return agent_main(argc, argv);
    return cli_main(argc, argv);
}
