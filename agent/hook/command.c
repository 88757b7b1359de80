/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/command.h"

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "hook/file.h"
#include "hook/paths.h"
#include "hook/say.h"

/* "--name" of each setting, in the life of the process: exec is next. */
static char option_names[HOOK_SETTINGS_MAX][sizeof(((struct hook_setting *)0)->name) + 2];

static void write_include(const struct start_options *options, const struct hook_answer *answer)
{
    char path[PATHS_SIZE];
    struct err err = {0};
    auto_buf struct buf text;
    buf_init(&text, KIB(16));
    (void)buf_append_str(&text, "# Made by muster-hook at each start of the server.\n");
    for (size_t i = 0; i < answer->setting_count; i++) {
        (void)buf_format(&text, "%s ", answer->settings[i].name);
        (void)buf_format(&text, "%s\n", answer->settings[i].value);
    }
    int r = paths_beside(options->socket_path, "server.conf", path, &err);
    if (r == 0)
        r = file_replace(path, NULL, buf_str(&text), text.len, &err);
    if (r < 0)
        say_warn("settings", "%s: the agent will set them when the server runs", err.msg);
    else
        say_info("settings",
                 "\"%s\" is no server that muster-hook knows: its configuration should end with "
                 "\"include %s\"; else the agent sets them when the server runs",
                 options->command[0], path);
}

char **command_with_settings(const struct start_options *options, const struct server_conf *conf,
                             const struct hook_answer *answer)
{
    size_t count = 0;
    while (options->command[count])
        count++;
    char **argv = xcalloc(count + 2 * HOOK_SETTINGS_MAX + 1, sizeof *argv);
    for (size_t i = 0; i < count; i++)
        argv[i] = options->command[i];
    if (!conf->known && answer->setting_count)
        write_include(options, answer);
    for (size_t i = 0; conf->known && i < answer->setting_count; i++) {
        const struct hook_setting *setting = &answer->settings[i];
        text_format(option_names[i], sizeof option_names[i], "--%s", setting->name);
        argv[count++] = option_names[i];
        argv[count++] = (char *)(uintptr_t)setting->value;
    }
    return argv;
}
