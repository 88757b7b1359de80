/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of configuration keys and how a value of each is judged: shared by the file, the
 * environment and the description. Internal to config_*.c.
 */
#ifndef MUSTER_WIRE_CONFIG_TABLE_H
#define MUSTER_WIRE_CONFIG_TABLE_H

#include "wire/config_yaml.h"

#define CONFIG_KEYS_MAX 64
#define CONFIG_KEY_SIZE 64
#define CONFIG_ALLOWED_SIZE 160

enum config_type {
    CONFIG_SECTION = 1, /* has keys of its own; no value */
    CONFIG_TEXT,        /* "" or what `is_valid` accepts, shorter than `size` */
    CONFIG_ADDRESS,     /* a literal address, IPv6 also in brackets; kept without them */
    CONFIG_PORT,        /* uint16_t */
    CONFIG_INT,         /* int, min..max */
    CONFIG_INT64,       /* int64_t, min..max */
    CONFIG_BOOL,
    CONFIG_WORD,  /* int, or an enum that starts with 1: the word's place in `words` */
    CONFIG_PEERS, /* a list of host:port */
};

struct config_key {
    const char *name; /* with dots */
    enum config_type type;
    size_t offset; /* in struct config */
    size_t size;
    int64_t min;
    int64_t max;
    bool (*is_valid)(struct span);
    const char *const *words; /* ended by NULL */
    const char *fallback;     /* the default, as it would be written */
    const char *allowed;      /* for people; NULL = it follows from the type */
};

extern const struct config_key config_keys[];
extern const size_t config_key_count;

/* NULL if there is none. */
const struct config_key *config_find(const char *name);

/* MUSTER_ and the name in upper case, dots as underscores; dst has CONFIG_KEY_SIZE bytes. */
void config_variable(const struct config_key *key, char *dst);

/* What is allowed, for people; dst has CONFIG_ALLOWED_SIZE bytes. */
void config_allowed(const struct config_key *key, char *dst);

/* True for a type whose value YAML must write without quotes. */
bool config_is_plain_type(enum config_type type);

/* False, *config untouched, if the value is not allowed. For PEERS it adds one to the list. */
bool config_set(const struct config_key *key, struct span value, struct config *config);

void config_clear_peers(struct config *config);

/* The value as it may be shown: cut, and '?' for what is not printable. */
#define CONFIG_SHOWN_SIZE 64
void config_show(struct span value, char *dst);

/* "NAME=value" strings ended by NULL, over *config. */
must_check int config_parse_environment(char *const *environment, struct config *config,
                                        struct err *err);

#endif
