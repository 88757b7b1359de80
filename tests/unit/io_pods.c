/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/io_pods.h"

#include "base/text.h"
#include "unit/io_script.h"

static void io_pod(char *dst, size_t size, const char *name, int version)
{
    text_format(dst, size,
                "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\","
                "\"namespace\":\"ns\",\"uid\":\"uid-%s\",\"resourceVersion\":\"%d\"},"
                "\"spec\":{},\"status\":{\"phase\":\"Pending\"}}",
                name, name, version);
}

void io_answer_list(int fd, int version, const char *next, const char *a, const char *b)
{
    char first[512] = "", second[512] = "", body[2048];
    if (a)
        io_pod(first, sizeof first, a, version);
    if (b)
        io_pod(second, sizeof second, b, version);
    text_format(body, sizeof body,
                "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":"
                "\"%d\",\"continue\":\"%s\"},\"items\":[%s%s%s]}",
                version, next, first, b ? "," : "", second);
    io_http_answer(fd, 200, "", body);
}

void io_send_event(int fd, const char *type, const char *name, int version)
{
    char object[512], line[768];
    io_pod(object, sizeof object, name, version);
    text_format(line, sizeof line, "{\"type\":\"%s\",\"object\":%s}\n", type, object);
    io_http_chunk(fd, line);
}

void io_send_bookmark(int fd, int version)
{
    char line[256];
    text_format(line, sizeof line,
                "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Pod\",\"metadata\":{"
                "\"resourceVersion\":\"%d\"}}}\n",
                version);
    io_http_chunk(fd, line);
}
