/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions that have no safe use here become compile errors (the trick is git's). Included last
 * by base/cleanup.h; it includes the headers that declare them itself, so that the order of
 * includes elsewhere does not matter.
 */
#ifndef MUSTER_BASE_BANNED_H
#define MUSTER_BASE_BANNED_H

#include <alloca.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BANNED(function) sorry_##function##_is_a_banned_function

/* No bound on what they write: text_format() or struct buf instead. */
#undef strcpy
#define strcpy(to, from) BANNED(strcpy)
#undef strcat
#define strcat(to, from) BANNED(strcat)
#undef sprintf
#define sprintf(...) BANNED(sprintf)
#undef vsprintf
#define vsprintf(...) BANNED(vsprintf)

/* The one leaves no NUL, the other pads or counts from the wrong end. */
#undef strncpy
#define strncpy(to, from, n) BANNED(strncpy)
#undef strncat
#define strncat(to, from, n) BANNED(strncat)

/* State between calls: spans (base/text.h) instead. */
#undef strtok
#define strtok(text, separators) BANNED(strtok)
#undef strtok_r
#define strtok_r(text, separators, state) BANNED(strtok_r)

/* They take what is not a number for one, skip blanks, or depend on NUL: text_to_... instead. */
#undef atoi
#define atoi(text) BANNED(atoi)
#undef atol
#define atol(text) BANNED(atol)
#undef atoll
#define atoll(text) BANNED(atoll)
#undef atof
#define atof(text) BANNED(atof)
#undef strtol
#define strtol(text, end, base) BANNED(strtol)
#undef strtoul
#define strtoul(text, end, base) BANNED(strtoul)
#undef strtoll
#define strtoll(text, end, base) BANNED(strtoll)
#undef strtoull
#define strtoull(text, end, base) BANNED(strtoull)
#undef sscanf
#define sscanf(...) BANNED(sscanf)

/* One static buffer for every caller: the _r forms. */
#undef gmtime
#define gmtime(t) BANNED(gmtime)
#undef localtime
#define localtime(t) BANNED(localtime)
#undef ctime
#define ctime(t) BANNED(ctime)
#undef asctime
#define asctime(tm) BANNED(asctime)

/* One seed for every caller, and no test could repeat a run: base/rng.h instead. */
#undef rand
#define rand() BANNED(rand)
#undef srand
#define srand(seed) BANNED(srand)
#undef random
#define random() BANNED(random)

/* A stack of unknown size. */
#undef alloca
#define alloca(size) BANNED(alloca)

#endif
