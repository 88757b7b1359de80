/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/config_yaml.h"

#include <string.h>
#include <yaml.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "wire/config_table.h"

/* One event of libyaml at a time, and where it all goes. */
struct config_reader {
    yaml_parser_t parser;
    yaml_event_t event;
    bool has_event; /* to be deleted */
    struct span text;
    const char *file;
    struct config *config;
    uint64_t seen; /* keys and sections, by their place in the table */
    struct err *err;
};

static int reader_fail(struct config_reader *reader, const char *key, const char *text)
{
    return err_set(reader->err, E_INVALID, "%s:%zu: %s%s%s", reader->file,
                   reader->event.start_mark.line + 1, key, *key ? ": " : "", text);
}

/* Lines of the text up to its `len`-th byte; a line that has begun counts. */
static size_t count_lines(struct span text, size_t len)
{
    size_t lines = 1;
    for (size_t i = 0; i < len && i < text.len; i++)
        lines += text.ptr[i] == '\n' && i + 1 < text.len;
    return lines;
}

/*
 * The input reader of libyaml knows the offset of what it refuses, the others know the line, which
 * is one behind the last where the text ends too early.
 */
static int reader_fail_yaml(struct config_reader *reader)
{
    const yaml_parser_t *parser = &reader->parser;
    size_t line = parser->problem_mark.line + 1;
    size_t last = count_lines(reader->text, SIZE_MAX);
    if (parser->error == YAML_READER_ERROR)
        line = count_lines(reader->text, parser->problem_offset);
    return err_set(reader->err, E_INVALID, "%s:%zu: not YAML: %s", reader->file,
                   line < last ? line : last, parser->problem ? parser->problem : "malformed");
}

static void reader_drop_event(struct config_reader *reader)
{
    if (reader->has_event)
        yaml_event_delete(&reader->event);
    reader->has_event = false;
}

/* The next event; what none of our files needs is refused here, wherever it stands. */
static int reader_next(struct config_reader *reader)
{
    reader_drop_event(reader);
    if (!yaml_parser_parse(&reader->parser, &reader->event))
        return reader_fail_yaml(reader);
    reader->has_event = true;
    const yaml_char_t *anchor = NULL;
    const yaml_char_t *tag = NULL;
    const yaml_event_t *event = &reader->event;
    if (event->type == YAML_ALIAS_EVENT)
        return reader_fail(reader, "", "aliases are not allowed");
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
    }
    if (anchor || tag)
        return reader_fail(reader, "", "anchors and tags are not allowed");
    return 0;
}

static struct span reader_scalar(const struct config_reader *reader)
{
    return (struct span){(const char *)reader->event.data.scalar.value,
                         reader->event.data.scalar.length};
}

/* Plain null, true and false are no strings in YAML, and quoted numbers are no numbers. */
static bool scalar_has_type(const struct config_reader *reader, const struct config_key *key)
{
    static const char *const not_text[] = {"", "~", "null", "true", "false"};
    bool plain = reader->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (config_is_plain_type(key->type))
        return plain;
    for (size_t i = 0; plain && i < ARRAY_LEN(not_text); i++)
        if (span_is(reader_scalar(reader), not_text[i]))
            return false;
    return true;
}

static int refuse_value(struct config_reader *reader, const struct config_key *key,
                        const char *shown)
{
    char text[CONFIG_SHOWN_SIZE + CONFIG_ALLOWED_SIZE];
    char allowed[CONFIG_ALLOWED_SIZE];
    config_allowed(key, allowed);
    text_format(text, sizeof text, "%s: %s", shown, allowed);
    return reader_fail(reader, key->name, text);
}

static int set_scalar(struct config_reader *reader, const struct config_key *key)
{
    char shown[CONFIG_SHOWN_SIZE];
    if (scalar_has_type(reader, key) && config_set(key, reader_scalar(reader), reader->config))
        return 0;
    config_show(reader_scalar(reader), shown);
    return refuse_value(reader, key, *shown ? shown : "no value");
}

static int read_list(struct config_reader *reader, const struct config_key *key)
{
    for (;;) {
        int r = reader_next(reader);
        if (r < 0)
            return r;
        if (reader->event.type == YAML_SEQUENCE_END_EVENT)
            return 0;
        if (reader->event.type != YAML_SCALAR_EVENT)
            return refuse_value(reader, key, "a nested value");
        r = set_scalar(reader, key);
        if (r < 0)
            return r;
    }
}

/* True if `name` is "<section>.<one word>". */
static bool is_within(const char *name, const char *section)
{
    size_t len = strlen(section);
    if (len) {
        if (strncmp(name, section, len) != 0 || name[len] != '.')
            return false;
        name += len + 1;
    }
    return !strchr(name, '.');
}

static int refuse_key(struct config_reader *reader, const char *section, const char *name)
{
    char text[ERR_MSG_SIZE] = "unknown key; known here:";
    size_t skip = *section ? strlen(section) + 1 : 0;
    const char *comma = "";
    for (size_t i = 0; i < config_key_count; i++) {
        if (!is_within(config_keys[i].name, section))
            continue;
        text_append(text, sizeof text, "%s %s", comma, config_keys[i].name + skip);
        comma = ",";
    }
    return reader_fail(reader, name, text);
}

/* The key that the current event names within `section`; NULL with the error set if it may not. */
static const struct config_key *read_key(struct config_reader *reader, const char *section)
{
    char shown[CONFIG_SHOWN_SIZE] = "a nested value";
    char name[2 * CONFIG_KEY_SIZE];
    bool scalar = reader->event.type == YAML_SCALAR_EVENT;
    if (scalar)
        config_show(reader_scalar(reader), shown);
    text_format(name, sizeof name, "%s%s%s", section, *section ? "." : "", shown);
    const struct config_key *key = scalar ? config_find(name) : NULL;
    if (!key || !is_within(key->name, section) || strlen(shown) != reader_scalar(reader).len) {
        (void)refuse_key(reader, section, name);
        return NULL;
    }
    uint64_t bit = UINT64_C(1) << (key - config_keys);
    if (reader->seen & bit) {
        (void)reader_fail(reader, name, "given twice");
        return NULL;
    }
    reader->seen |= bit;
    return key;
}

static int read_mapping(struct config_reader *reader, const char *section);

static int read_value(struct config_reader *reader, const struct config_key *key)
{
    bool is_scalar = reader->event.type == YAML_SCALAR_EVENT;
    bool is_list = reader->event.type == YAML_SEQUENCE_START_EVENT;
    if (key->type == CONFIG_SECTION && reader->event.type == YAML_MAPPING_START_EVENT)
        return read_mapping(reader, key->name);
    if (key->type == CONFIG_PEERS && is_list)
        return read_list(reader, key);
    if (is_scalar && key->type != CONFIG_PEERS)
        return set_scalar(reader, key);
    return refuse_value(reader, key,
                        is_scalar ? "a single value"
                        : is_list ? "a list"
                                  : "a mapping");
}

/* As deep as the table's sections: two below the top. */
static int read_mapping(struct config_reader *reader, const char *section)
{
    for (;;) {
        int r = reader_next(reader);
        if (r < 0)
            return r;
        if (reader->event.type == YAML_MAPPING_END_EVENT)
            return 0;
        const struct config_key *key = read_key(reader, section);
        if (!key)
            return E_INVALID;
        r = reader_next(reader);
        if (r == 0)
            r = read_value(reader, key);
        if (r < 0)
            return r;
    }
}

/* The rest of the stream must be the ends of the one document and of itself. */
static int read_end(struct config_reader *reader)
{
    do {
        int r = reader_next(reader);
        if (r < 0)
            return r;
        if (reader->event.type == YAML_DOCUMENT_START_EVENT)
            return reader_fail(reader, "", "only one document is allowed");
    } while (reader->event.type != YAML_STREAM_END_EVENT);
    return 0;
}

static int read_stream(struct config_reader *reader)
{
    do {
        int r = reader_next(reader);
        if (r < 0)
            return r;
        if (reader->event.type == YAML_STREAM_END_EVENT)
            return 0; /* an empty file */
    } while (reader->event.type == YAML_STREAM_START_EVENT ||
             reader->event.type == YAML_DOCUMENT_START_EVENT);
    if (reader->event.type != YAML_MAPPING_START_EVENT)
        return reader_fail(reader, "", "not a mapping of keys to values");
    int r = read_mapping(reader, "");
    return r < 0 ? r : read_end(reader);
}

static int parse_file(struct span yaml, const char *file, struct config *config, struct err *err)
{
    struct config_reader reader = {.text = yaml, .file = file, .config = config, .err = err};
    if (yaml.len > CONFIG_TEXT_MAX)
        return err_set(err, E_LIMIT, "%s: longer than %zu bytes", file, CONFIG_TEXT_MAX);
    if (!yaml_parser_initialize(&reader.parser))
        abort(); /* out of memory */
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)(yaml.len ? yaml.ptr : ""),
                                 yaml.len);
    int r = read_stream(&reader);
    reader_drop_event(&reader);
    yaml_parser_delete(&reader.parser);
    return r;
}

int config_parse(struct span yaml, const char *file, char *const *environment,
                 struct config *ret_config, struct err *err)
{
    struct config config = {.discovery = DISCOVERY_KUBERNETES};
    for (size_t i = 0; i < config_key_count; i++)
        if (config_keys[i].type != CONFIG_SECTION && config_keys[i].type != CONFIG_PEERS &&
            !config_set(&config_keys[i], span_of(config_keys[i].fallback), &config))
            abort(); /* the table contradicts itself */
    int r = parse_file(yaml, file, &config, err);
    if (r == 0)
        r = config_parse_environment(environment, &config, err);
    if (r < 0)
        config_deinit(&config);
    else
        *ret_config = config;
    return r;
}

void config_clear_peers(struct config *config)
{
    free(config->static_list.peers);
    config->static_list.peers = NULL;
    config->static_list.peer_count = 0;
}

void config_deinit(struct config *config)
{
    config_clear_peers(config);
}
