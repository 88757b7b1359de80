#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Shows that tests/run.sh fails when it must, in a copy of the tree that has agent/base only (so that it builds in
# seconds): a failing test, no test, a test that does not build, a failing integration test, and one bad example for each
# check of tests/lint that reads sources. A check that lets its bad example pass is no check.

# shellcheck source=tests/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

copy=$(mktemp -d "${TMPDIR:-/tmp}/muster-self-test.XXXXXX")
trap 'rm -rf "$copy"' EXIT
output=$copy/output
export MUSTER_CACHE=$cache MUSTER_BUILD_ROOT=$copy/build MUSTER_NO_SETUP=1

cp -r "$repo/CMakeLists.txt" "$repo/CMakePresets.json" "$repo"/.clang-* "$repo/.yamllint" "$repo/.gitignore" "$copy/"
mkdir -p "$copy/agent" "$copy/tests/plan" "$copy/tests/integration"
cp -r "$repo/agent/CMakeLists.txt" "$repo/agent/base" "$copy/agent/"
cp -r "$repo/tests/CMakeLists.txt" "$repo/tests/run.sh" "$repo/tests/lint" "$copy/tests/"
mkdir -p "$copy/tests/lib"
cp "$repo"/tests/lib/*.sh "$copy/tests/lib/"
cd "$copy"
git init -q .

# expect STATUS TEXT COMMAND...: STATUS is pass or fail; TEXT is a regular expression for a line of the output.
expect() {
    local want=$1 text=$2 got=pass
    shift 2
    "$@" >"$output" 2>&1 </dev/null || got=fail
    if [ "$got" != "$want" ]; then
        cat "$output"
        die "'$*' must $want"
    fi
    if ! grep -qE -- "$text" "$output"; then
        cat "$output"
        die "'$*' must print a line that matches '$text'"
    fi
    say "ok: $* -> $want ($text)"
}

# case_test STATEMENT: a test of one statement, in the tier that builds only once
case_test() {
    cat >tests/plan/test_self.c <<END
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_self(void **state)
{
    (void)state;
    $1
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_self)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
END
}

# bad CHECK FILE TEXT: the check passes without the file and fails with it.
bad() {
    mkdir -p "$(dirname "$2")"
    printf '%b\n' "$3" >"$2"
    expect fail "${4:-$2}" "tests/lint/$1.sh"
    rm "$2"
}

case_test 'assert_int_equal(1, 1);'
expect pass '^2 passed, 0 failed$' tests/run.sh plan
case_test 'assert_int_equal(1, 2);'
expect fail '^FAILED plan/test_plan_self ' tests/run.sh plan
expect fail '^1 passed, 1 failed$' tests/run.sh plan
case_test 'int a[1] = {0}; volatile int i = 1; assert_int_equal(a[i], 0);'
expect fail '^FAILED plan/test_plan_self ' tests/run.sh plan
case_test 'abort();'
expect fail '^FAILED plan/test_plan_self ' tests/run.sh plan
case_test 'return 1;'
expect fail '^FAILED build/dev ' tests/run.sh plan
rm tests/plan/test_self.c
expect fail '^FAILED plan ' tests/run.sh plan
expect fail 'no tests/integration' tests/run.sh integration
printf '#!/usr/bin/env python3\nraise SystemExit(1)\n' >tests/integration/test_self.py
expect fail '^FAILED integration/test_self ' tests/run.sh integration
expect fail 'no tests/integration.* asks for it' tests/run.sh versions
cp "$repo/tests/lib/muster_test.py" tests/lib/
cp -r "$repo/tests/lab" tests/
# server_test DECORATOR [ARGUMENT]: a test that tells its server
server_test() {
    cat >tests/integration/test_self.py <<END
#!/usr/bin/env python3
import sys
sys.path.insert(0, "tests/lib")
from muster_test import MusterTestCase, main, on_servers

class Self(MusterTestCase):
    $1
    def test_self(self, server=None):
        print(f"server {server}")
        self.assertNotEqual(server, "bad")

main()
END
}
server_test '@on_servers("one", "bad")'
expect pass '^ok integration/test_self ' tests/run.sh integration
expect fail '^FAILED versions/test_self ' tests/run.sh versions
server_test '@on_servers("bad", "one")'
expect fail '^FAILED integration/test_self ' tests/run.sh integration
expect pass '^ok versions/test_self ' tests/run.sh versions
server_test '@on_servers("one")'
expect fail 'no test ran' tests/run.sh versions
rm tests/integration/test_self.py
expect fail 'there is no tests/e2e/run.sh' tests/run.sh e2e
expect fail 'unknown tier' tests/run.sh nonesuch

expect pass 'files' tests/lint/layers.sh
bad layers agent/core/bad.c '#include "io/clock.h"'
bad layers agent/core/bad.c '#include <hiredis/hiredis.h>'
bad layers agent/core/bad.c '#include <time.h>'
bad layers agent/base/bad.c '#include "core/world.h"'
bad layers agent/cli/bad.c '#include <curl/curl.h>'
bad layers agent/wire/bad.h '#include <curl/curl.h>'
mkdir -p agent/wire
echo '#include <cjson/cJSON.h>' >agent/wire/own.h
bad layers agent/io/bad.c '#include "wire/own.h"'
rm agent/wire/own.h
bad layers agent/hook/bad.c '#include "wire/kube_json.h"'
bad layers agent/more/bad.c ''
expect pass 'files' tests/lint/words.sh
bad words agent/core/bad.c 'int master;'
bad words agent/core/bad.c 'x = time(0);'
bad words agent/io/bad.c 'getaddrinfo();'
bad words agent/io/bad.c 'p = malloc(1);'
bad words tests/bad.py "# TO""DO"
bad words tests/bad.sh 'cd /wo''rk/main'
bad sizes agent/core/bad.c "$(seq 501)"
bad shell tests/bad.sh '#!/bin/sh\necho $1'
bad yaml tests/bad.yaml 'a:   [1'
bad python tests/bad.py 'import os'
bad format agent/core/bad.c 'int  a;'
expect fail 'defines nothing' tests/lint/purity.sh
bad purity agent/core/bad.c '#include <stdlib.h>\nint core_bad(void);\nint core_bad(void)\n{\n    return getenv("A") != 0;\n}' getenv
bad cppcheck agent/core/bad.c 'int core_bad(void);\nint core_bad(void)\n{\n    int a[2];\n    a[2] = 1;\n    return a[0];\n}'
bad tidy agent/core/bad.c 'int core_bad(int a);\nint core_bad(int a)\n{\n    return a == a;\n}'
bad analyze agent/core/bad.c 'int core_bad(int a);\nint core_bad(int a)\n{\n    int *p = 0;\n    return a ? *p : 0;\n}'

# in the background a failure counts as well: checks that only pass, or one that does not, beside a test
case_test 'assert_int_equal(1, 1);'
for check in tests/lint/*.sh tests/lib/self-test.sh; do
    printf '#!/bin/sh\nexit 0\n' >"$check"
done
expect pass '^ok lint/self-test ' tests/run.sh beside plan
printf '#!/bin/sh\nexit 1\n' >tests/lint/words.sh
expect fail '^FAILED lint/words ' tests/run.sh beside plan
expect fail '^failed: lint/words$' tests/run.sh beside plan

say "run.sh and the checks of tests/lint fail when they must"
