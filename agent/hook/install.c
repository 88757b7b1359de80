/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/install.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "hook/file.h"
#include "hook/say.h"
#include "version.h"
#include "wire/hook_proto.h"

/* The static program is below 100 KiB; one with sanitizers is larger. */
#define PROGRAM_MAX MIB(32)

int install_run(const char *dir)
{
    char path[HOOK_PATH_SIZE];
    struct err err = {0};
    struct stat like;
    auto_buf struct buf program;
    buf_init(&program, PROGRAM_MAX);
    int r = file_join(dir, "muster-hook", path, sizeof path, &err);
    if (r == 0)
        r = file_read("/proc/self/exe", &program, &err);
    if (r == 0 && stat("/proc/self/exe", &like) == 0) {
        like.st_uid = getuid();
        like.st_gid = getgid();
        like.st_mode = 0755;
        r = file_replace(path, &like, program.bytes, program.len, &err);
    }
    if (r < 0) {
        say_error("not-installed", "%s: is %s a writable directory?", err.msg, dir);
        return 1;
    }
    say_info("installed", "%s is version %s, protocol %d, %zu bytes", path, MUSTER_VERSION,
             HOOK_PROTO_VERSION, program.len);
    return 0;
}
